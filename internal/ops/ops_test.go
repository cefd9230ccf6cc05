package ops_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/ops"
)

func TestReadyzNamesMissingDependenciesToOperatorsAlone(t *testing.T) {
	t.Parallel()
	works := func(context.Context) error { return nil }
	fails := func(context.Context) error { return errors.New("it is away") }
	for name, c := range map[string]struct {
		checks ops.Checks
		status int
		want   ops.Readiness
	}{
		"all works": {ops.Checks{Required: map[string]ops.Check{"a": works}}, http.StatusOK, ops.Readiness{Ready: true}},
		"a required one is away": {
			ops.Checks{Required: map[string]ops.Check{"a": works, "b": fails}}, http.StatusServiceUnavailable,
			ops.Readiness{Missing: map[string]string{"b": "it is away"}},
		},
		"an optional one is away": {
			ops.Checks{Required: map[string]ops.Check{"a": works}, Optional: map[string]ops.Check{"b": fails}}, http.StatusOK,
			ops.Readiness{Ready: true, Degraded: map[string]string{"b": "it is away"}},
		},
		"one of several is away": {
			ops.Checks{OneOf: map[string]ops.Check{"a": works, "b": fails}}, http.StatusOK,
			ops.Readiness{Ready: true, Degraded: map[string]string{"b": "it is away"}},
		},
		"all of several are away": {
			ops.Checks{OneOf: map[string]ops.Check{"a": fails, "b": fails}}, http.StatusServiceUnavailable,
			ops.Readiness{Missing: map[string]string{"a": "it is away", "b": "it is away"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got ops.Readiness
			status, body := get(ops.Handler(c.checks), "/readyz")
			if err := json.Unmarshal(body, &got); err != nil || status != c.status || !reflect.DeepEqual(got, c.want) {
				t.Errorf("status %d, %+v: %v", status, got, err)
			}
			status, body = get(ops.Probes(c.checks), "/readyz")
			if want := fmt.Sprintf(`{"ready":%v}`+"\n", c.want.Ready); status != c.status || string(body) != want {
				t.Errorf("strangers are answered %d %s, want %d %s", status, body, c.status, want)
			}
		})
	}
}

func TestSeldomCachesAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, away := 0, errors.New("it is away")
		var answer error
		check := ops.Seldom(10*time.Second, func(context.Context) error {
			asked++
			return answer
		})
		ask := func(want error, times int) {
			t.Helper()
			if err := check(t.Context()); !errors.Is(err, want) || asked != times {
				t.Errorf("the answer is %v after %d times, want %v after %d", err, asked, want, times)
			}
		}
		ask(nil, 1)
		answer = away
		time.Sleep(9 * time.Second) // no time passes here
		ask(nil, 1)
		time.Sleep(time.Second)
		ask(away, 2)
		answer = nil
		ask(away, 2)
		time.Sleep(time.Second)
		ask(nil, 3)
	})
}

func TestHealthzAndMetrics(t *testing.T) {
	t.Parallel()
	operators, probes := ops.Handler(ops.Checks{}), ops.Probes(ops.Checks{})
	for _, handler := range []http.Handler{operators, probes} {
		if status, body := get(handler, "/healthz"); status != http.StatusOK || string(body) != `{"alive":true}`+"\n" {
			t.Errorf("/healthz answered %d %s", status, body)
		}
	}
	if status, body := get(probes, "/metrics"); status != http.StatusNotFound {
		t.Errorf("/metrics of probes answered %d: %.100s", status, body)
	}
	if status, body := get(operators, "/metrics"); status != http.StatusOK || !strings.Contains(string(body), "go_goroutines") {
		t.Errorf("/metrics answered %d: %.100s", status, body)
	}
}

func get(handler http.Handler, path string) (int, []byte) {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	body, _ := io.ReadAll(recorder.Body)
	return recorder.Code, body
}
