package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/client"

	"millrace/deploy/local/localtest"
	"millrace/internal/keyfile"
	"millrace/internal/ops"
)

// TestDoctorOfProcesses sees each check find what is right and what is wrong.
func TestDoctorOfProcesses(t *testing.T) {
	t.Parallel()
	process := func(checks ops.Checks) func(w *ward) {
		return func(w *ward) {
			server := httptest.NewServer(ops.Handler(checks))
			w.t.Cleanup(server.Close)
			w.Workers = []string{strings.Replace(server.URL, "://", "://user:secret@", 1)}
		}
	}
	fails := map[string]ops.Check{"kinesis": func(context.Context) error { return errors.New("look for stream s: it is away") }}
	keys := func(mode os.FileMode, damage string, tenants ...string) func(w *ward) {
		return func(w *ward) {
			w.Keys = filepath.Join(w.t.TempDir(), "keys.json")
			for _, tenant := range tenants {
				if _, err := keyfile.Create(w.Keys, tenant); err != nil {
					w.t.Fatal(err)
				}
			}
			if damage != "" {
				if err := os.WriteFile(w.Keys, []byte(damage), 0o600); err != nil {
					w.t.Fatal(err)
				}
			}
			if err := os.Chmod(w.Keys, mode); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		prepare     func(w *ward)
		check, want string
		texts       []string
	}{
		"ready":        {process(ops.Checks{}), "worker", checkOK, []string{"it is ready"}},
		"not ready":    {process(ops.Checks{Required: fails}), "worker", checkFails, []string{"it is not ready: kinesis: look for stream s"}},
		"degraded":     {process(ops.Checks{Optional: fails}), "worker", checkWarns, []string{"it is ready, but for kinesis: look for stream s"}},
		"away":         {func(w *ward) { w.Workers = []string{"http://user:secret@127.0.0.1:1"} }, "worker", checkFails, []string{"connection refused", "--worker-url"}},
		"no process":   {func(w *ward) { w.Workers = []string{localtest.Elasticsearch(w.t)} }, "worker", checkFails, []string{"it is not ready"}},
		"not asked":    {func(*ward) {}, "worker", checkSkipped, []string{"--worker-url"}},
		"its time":     {process(ops.Checks{}), "clock", checkOK, []string{"within 30s"}},
		"has no time":  {func(w *ward) { w.Workers = []string{"http://127.0.0.1:1"} }, "clock", checkSkipped, []string{"needs processes worker 127.0.0.1:1"}},
		"keys":         {keys(0o600, "", "acme", "acme", "other"), "API keys", checkOK, []string{"tenants with keys: 2"}},
		"open keys":    {keys(0o644, "", "acme"), "API keys", checkWarns, []string{"its mode is 0644", "chmod 640"}},
		"no keys":      {keys(0o600, `{"keys":[]}`), "API keys", checkWarns, []string{"no key in it opens", "collector keys create --keys"}},
		"damaged keys": {keys(0o600, `{"keys":[{"id":"x","tenant":"acme","sha256":"00"}]}`), "API keys", checkFails, []string{`key "x" is not complete`}},
		"no key file":  {func(w *ward) { w.Keys = filepath.Join(w.t.TempDir(), "none") }, "API keys", checkFails, []string{"look at the key file"}},
		"no --keys":    {func(*ward) {}, "API keys", checkSkipped, []string{"--keys"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t)
			c.prepare(w)
			check := "processes " + c.check
			if len(w.Workers) > 0 {
				check = map[string]string{"worker": "processes worker ", "clock": "clocks worker "}[c.check] + hostOf(w.Workers[0])
			}
			w.finds(check, c.want, c.texts...)
		})
	}
}

// TestDoctorMakesChecksTogether: one that is stuck has its time, and keeps no other from its answer.
func TestDoctorMakesChecksTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := func(after time.Duration) func(context.Context) (verdict, error) {
			return func(context.Context) (verdict, error) {
				time.Sleep(after) // deaf to its context, in a time that does not pass
				return fine("done"), nil
			}
		}
		checks := []check{
			{group: "a", name: "stuck", do: "start it", look: slow(time.Hour)},
			{group: "a", name: "slow", look: slow(5 * time.Second)},
			{group: "b", name: "wrong", do: "mend it", look: func(context.Context) (verdict, error) { return verdict{}, errors.New("two\nlines") }},
			{group: "b", name: "needs it", do: "x", look: func(context.Context) (verdict, error) { return verdict{}, awayError{"a stuck"} }},
			{group: "b", name: "quick", look: slow(0)},
		}
		var terminal bytes.Buffer
		waiting := newWaiting(checks)
		stop := waiting.show(&screen{to: &terminal})
		began := time.Now()
		found := examine(t.Context(), 10*time.Second, checks, waiting)
		stop()
		if took := time.Since(began); took != 10*time.Second+noticeWithin {
			t.Errorf("it takes %v", took)
		}
		if text := terminal.String(); !strings.Contains(text, "3 of 5 checks made; waiting for a stuck, a slow") || !strings.Contains(text, "4 of 5 checks made; waiting for a stuck") || !strings.HasSuffix(text, "\r\x1b[K") {
			t.Errorf("the terminal shows %q", text)
		}
		var out bytes.Buffer
		writeFindings(&out, found)
		const want = `A
FAIL    stuck: no answer within 10s (--check-timeout)
        start it
ok      slow: done
B
FAIL    wrong: two; lines
        mend it
skipped needs it: needs a stuck, which failed above
ok      quick: done
5 checks: 2 ok, 0 warnings, 2 failed, 1 skipped
`
		if out.String() != want {
			t.Errorf("it prints\n%s", out.String())
		}
		time.Sleep(2 * time.Hour) // the stuck one ends
	})
}

func TestClocksAreJudged(t *testing.T) {
	t.Parallel()
	e := exam{doctorCommand: doctorCommand{ClockSkew: 30 * time.Second}}
	for ahead, want := range map[time.Duration]string{
		0: checkOK, 30 * time.Second: checkOK, -30 * time.Second: checkOK, 31 * time.Second: checkFails, -31 * time.Second: checkFails,
	} {
		if v := e.judge("its clock", ahead); v.Status != want {
			t.Errorf("%v ahead: %+v", ahead, v)
		}
	}
}

const nowhereAddress = "127.0.0.1:1"

// nothing is an installation of which no server answers.
func nothing(t *testing.T, more ...string) operator {
	return newOperator(t, append([]string{
		"AWS_ENDPOINT_URL=http://" + nowhereAddress, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=the-id", "AWS_SECRET_ACCESS_KEY=the-secret",
		"TEMPORAL_ADDRESS=" + nowhereAddress, "TEMPORAL_API_KEY=the-key", "TEMPORAL_TLS=false", "MILLRACE_ELASTICSEARCH_URL=http://joe:the-password@" + nowhereAddress,
		"MILLRACE_ELASTICSEARCH_API_KEY=the-other-key",
	}, more...)...)
}

// TestDoctorWhereNothingAnswers reports each server once, and skips what needs it.
func TestDoctorWhereNothingAnswers(t *testing.T) {
	t.Parallel()
	o := nothing(t)
	r := o.run("doctor", "--check-timeout", "1m")
	if r.status != 1 || !strings.Contains(r.err, "checks failed") {
		t.Errorf("it ends with %d: %s", r.status, r.err)
	}
	contains(t, "doctor", r.out,
		"TEMPORAL\nFAIL    server: Temporal does not answer at 127.0.0.1:1", "skipped namespace: needs temporal server, which failed above",
		"FAIL    stream: describe stream millrace-telemetry-stream", "FAIL    fallback queue: ", "FAIL    bucket: ",
		"ELASTICSEARCH\nFAIL    server: ", "skipped index templates: needs elasticsearch server, which failed above", " 0 warnings, 6 failed, ")
	for _, secret := range []string{"the-secret", "the-key", "the-other-key", "the-password"} {
		if strings.Contains(r.out+r.err, secret) {
			t.Errorf("it prints a secret: %s", r.out)
		}
	}
}

// TestDoctorPrintsJSON, a list with the same members for each check.
func TestDoctorPrintsJSON(t *testing.T) {
	t.Parallel()
	r := nothing(t, "MILLRACE_SINK=file").run("doctor", "--json", "--check-timeout", "1m")
	var found []map[string]string
	if err := json.Unmarshal([]byte(r.out), &found); err != nil || r.status != 1 {
		t.Fatalf("%v, status %d: %s", err, r.status, r.out)
	}
	seen := map[string]string{}
	for _, f := range found {
		for _, member := range []string{"check", "group", "status", "detail", "do"} {
			if _, has := f[member]; !has || len(f) != 5 {
				t.Errorf("%v has no %s, or more", f, member)
			}
		}
		seen[f["group"]+" "+f["check"]] = f["status"] + " " + f["detail"]
	}
	if len(seen) != len(found) || len(seen) < 40 {
		t.Errorf("%d checks, %d names", len(found), len(seen))
	}
	for name, want := range map[string]string{
		"elasticsearch server": "skipped --sink file needs none", "schedules last snapshot": "skipped --sink file needs none",
		"task queues millrace-recover": "skipped --sink file needs none", "aws stream": checkFails, "task queues millrace-index": checkSkipped,
	} {
		if !strings.HasPrefix(seen[name], want) {
			t.Errorf("%s: %s", name, seen[name])
		}
	}
}

// TestDoctorSkipsWhatHangs: a server that takes connections and says nothing is reported once.
func TestDoctorSkipsWhatHangs(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.CheckTimeout = 100 * time.Millisecond
	w.temporal.get = func(context.Context) (client.Client, error) { select {} }
	statuses := map[string]int{}
	for _, f := range examine(t.Context(), w.CheckTimeout, w.temporalChecks(), newWaiting(w.temporalChecks())) {
		statuses[f.Status]++
	}
	if statuses[checkFails] != 1 || statuses[checkSkipped] != 2 {
		t.Errorf("the checks are %v", statuses)
	}
}
