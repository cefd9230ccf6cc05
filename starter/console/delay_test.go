package console

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/deploy/observability"
)

func TestObjectiveIsThatOfTheAlerts(t *testing.T) {
	t.Parallel()
	if want, err := strconv.ParseFloat(observability.DelayBound, 64); err != nil || want != Objective {
		t.Errorf("the alerts have %s: %v", observability.DelayBound, err)
	}
}

// TestHistoryOfAPrometheus: it leaves out what was not measured, and NaN.
func TestHistoryOfAPrometheus(t *testing.T) {
	t.Parallel()
	empty := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		start, _ := strconv.ParseFloat(r.Form.Get("start"), 64)
		series := ""
		if q := r.Form.Get("query"); !empty && strings.Contains(q, "0.99") && strings.Contains(q, "region") {
			series = fmt.Sprintf(`{"metric":{"region":"eu-west-1"},"values":[[%f,"0.5"]]},{"metric":{},"values":[[%f,"0.75"]]}`, start+15, start+15)
		} else if !empty && strings.Contains(q, "0.99") {
			series = fmt.Sprintf(`{"metric":{},"values":[[%f,"0.25"],[%f,"NaN"]]}`, start+15, start+30)
		} else if !empty && strings.Contains(q, "accepted") {
			series = fmt.Sprintf(`{"metric":{},"values":[[%f,"40"]]}`, start+3600)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, series)
	}))
	defer server.Close()
	history, err := Prometheus(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	points, err := history(t.Context())
	if err != nil || len(points) != 241 {
		t.Fatalf("%d points: %v", len(points), err)
	}
	if p := points[1]; p.P99 == nil || *p.P99 != 0.25 || p.P50 != nil || points[2].P99 != nil || points[240].Accepted == nil || *points[240].Accepted != 40 {
		t.Errorf("the points are %+v, %+v, %+v", points[1], points[2], points[240])
	}
	if age := time.Since(time.Unix(points[240].At, 0)); age < 0 || age > 2*historyStep {
		t.Errorf("the last is %v old", age)
	}
	w := New(Settings{}, Sources{})
	w.state.History.Value = points
	for region, want := range map[string]float64{"eu-west-1": 0.5, "unknown": 0.75} {
		if p := w.State(region).Delay.Points[1]; p.P99 == nil || *p.P99 != want || p.P50 != nil {
			t.Errorf("of %s it is %+v", region, p)
		}
	}
	if d := w.State("").Delay; d.Source != "prometheus" || len(d.Points) != 241 {
		t.Errorf("%d points from %s", len(d.Points), d.Source)
	}
	empty = true
	if points, err := history(t.Context()); err != nil || points != nil {
		t.Errorf("of one that has nothing: %v, %v", points, err)
	}
	server.Close()
	if _, err := history(t.Context()); err == nil {
		t.Error("one that is away has a history")
	}
}
