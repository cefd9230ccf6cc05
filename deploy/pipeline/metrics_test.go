package pipeline

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestMetricAddsTheSeriesThatMatch(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `# HELP records_total Records.
# TYPE records_total counter
records_total{how="indexed",shard="a b"} 40
records_total{how="indexed",shard="2"} 1.5e+06
records_total{how="duplicate",shard="2"} 7
records_total_others 1000
alone 3
`)
	}))
	defer server.Close()
	p := &Program{Process: &Process{Name: "worker"}, Ops: server.URL}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"records_total", nil, 1_500_047},
		{"records_total", []string{`how="indexed"`}, 1_500_040},
		{"records_total", []string{`how="indexed"`, `shard="2"`}, 1_500_000},
		{"alone", nil, 3},
		{"missing", nil, 0},
	} {
		if got, err := p.Metric(t.Context(), c.name, c.labels...); err != nil || got != c.want {
			t.Errorf("%s %v is %v, want %v: %v", c.name, c.labels, got, c.want, err)
		}
	}
}
