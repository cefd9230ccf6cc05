package console

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told is the answer of a collector and worker in one.
const told = `
# TYPE millrace_api_records_total counter
millrace_api_records_total{protocol="json",result="accepted"} 70
millrace_api_records_total{protocol="otlp",result="accepted"} 30
millrace_api_records_total{protocol="otlp",result="throttled"} 4
# TYPE millrace_process_records_total counter
millrace_process_records_total{outcome="indexed"} 50
millrace_process_records_total{outcome="dead_letter"} 2
# TYPE millrace_delay_seconds histogram
millrace_delay_seconds_bucket{le="0.1"} 50
millrace_delay_seconds_bucket{le="1"} 90
millrace_delay_seconds_bucket{le="+Inf"} 100
millrace_delay_seconds_sum 40
millrace_delay_seconds_count 100
# TYPE millrace_region_delay_seconds histogram
millrace_region_delay_seconds_bucket{region="eu-west-1",le="0.1"} 40
millrace_region_delay_seconds_bucket{region="eu-west-1",le="1"} 40
millrace_region_delay_seconds_bucket{region="eu-west-1",le="+Inf"} 40
millrace_region_delay_seconds_sum{region="eu-west-1"} 2
millrace_region_delay_seconds_count{region="eu-west-1"} 40
millrace_region_delay_seconds_bucket{region="",le="0.1"} 10
millrace_region_delay_seconds_bucket{region="",le="1"} 50
millrace_region_delay_seconds_bucket{region="",le="+Inf"} 60
millrace_region_delay_seconds_sum{region=""} 38
millrace_region_delay_seconds_count{region=""} 60
# TYPE millrace_redrive_seconds histogram
millrace_redrive_seconds_bucket{le="0.9"} 10
millrace_redrive_seconds_bucket{le="+Inf"} 10
millrace_redrive_seconds_sum 4
millrace_redrive_seconds_count 10
# TYPE millrace_dependency_missing gauge
millrace_dependency_missing{dependency="s3"} 0
millrace_dependency_missing{dependency="elasticsearch"} 1
# TYPE millrace_api_region gauge
millrace_api_region{region="eu-west-1"} 1
# TYPE millrace_residual_records_total counter
millrace_residual_records_total 3
# TYPE millrace_stream_retention_seconds gauge
millrace_stream_retention_seconds 86400
`

func TestMetricsBecomeFigures(t *testing.T) {
	t.Parallel()
	f, err := read(strings.NewReader(told))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{accepted: 100, throttled: 4, rejected: 0, indexed: 50, deadLetters: 2, processed: 52} {
		if f.counters[name] != want {
			t.Errorf("%s is %v, want %v", name, f.counters[name], want)
		}
	}
	if f.region != "eu-west-1" || f.retention != 86400 || f.residual != 3 || len(f.missing) != 1 || f.missing[0] != "elasticsearch" || f.buckets[delays][math.Inf(1)] != 100 {
		t.Errorf("the figures are %+v", f)
	}
	if !slices.Equal(f.regions, []string{"eu-west-1", "unknown"}) || f.buckets[delays+"/eu-west-1"][0.1] != 40 || f.buckets[delays+"/unknown"][1] != 50 {
		t.Errorf("the regions are %v, the figures %v", f.regions, f.buckets)
	}
	if _, err := read(strings.NewReader("millrace_api_records_total{ 1")); err == nil {
		t.Error("nonsense is read as metrics")
	}
}

func TestQuantilesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	some := map[float64]float64{0.1: 50, 1: 90, math.Inf(1): 100}
	for q, want := range map[float64]float64{0.25: 0.05, 0.5: 0.1, 0.7: 0.55, 0.99: 1} {
		if got := quantile(q, some); got == nil || math.Abs(*got-want) > 1e-9 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	for _, empty := range []map[float64]float64{nil, {math.Inf(1): 0}, {1: 0, math.Inf(1): 0}} {
		if got := quantile(0.5, empty); got != nil {
			t.Errorf("of %v it is %v", empty, *got)
		}
	}
}

// counted is a sample in which a process has accepted so many.
func counted(at time.Time, n float64) sample {
	return sample{at, figures{counters: map[string]float64{accepted: n}, buckets: map[string]map[float64]float64{delays: {1: n, math.Inf(1): n}}}}
}

func TestRatesSpanTheWindow(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	p := newProcess(Target{Worker, "http://127.0.0.1:1"})
	if _, known := p.rate(accepted, at(0)); known {
		t.Error("a rate is known of nothing")
	}
	for s := 0; s <= 60; s += 2 {
		p.add(counted(at(s), float64(1000+10*s)))
	}
	if r, known := p.rate(accepted, at(60)); !known || r != 10 {
		t.Errorf("the rate is %v, %v", r, known)
	}
	if len(p.samples) > 7 || p.total[accepted] != 600 {
		t.Errorf("it keeps %d samples, and counted %v", len(p.samples), p.total[accepted])
	}
	// It did not answer for a minute: what it counted meanwhile is no burst.
	p.add(counted(at(120), 1000+10*120))
	if r, known := p.rate(accepted, at(120)); !known || math.Abs(r-10) > 0.1 {
		t.Errorf("after a gap the rate is %v, %v", r, known)
	}
	if _, known := p.rate(accepted, at(121).Add(staleAfter)); known {
		t.Error("a rate is known of a process that does not answer")
	}
	p.part.Error, p.part.Since = "connection refused", at(121)
	if _, known := p.rate(accepted, at(121).Add(goneAfter)); !known {
		t.Error("no rate is known after one failure")
	}
	if _, known := p.rate(accepted, at(122).Add(goneAfter)); known {
		t.Error("a rate is known of a process that is gone")
	}
	p.part.Error = ""
	// It was started again.
	p.add(counted(at(130), 40))
	buckets := map[float64]float64{}
	p.spread(delays, at(130), buckets)
	if r, _ := p.rate(accepted, at(130)); r != 4 || buckets[1] != 40 || p.total[accepted] != 1240 {
		t.Errorf("after a restart the rate is %v, the buckets %v, and all %v", r, buckets, p.total[accepted])
	}
}

func TestOneProcessThatIsDownHidesNoOther(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(told))
	}))
	defer server.Close()
	w := New(Settings{Every: DefaultEvery, Within: DefaultWithin}, Sources{Targets: []Target{
		{Collector, server.URL + "/"}, {Worker, "http://name:secret@127.0.0.1:1"}, {Worker, server.URL + "/nowhere"},
	}})
	for _, p := range w.processes {
		asked := time.Now()
		f, err := w.scrape(t.Context(), p)
		p.part.note(asked, f, err)
	}
	s := w.State("")
	if p := s.Processes[0]; p.Error != "" || p.Region != "eu-west-1" || p.Missing[0] != "elasticsearch" {
		t.Errorf("the first is %+v", p)
	}
	if p := s.Processes[1]; p.Address != "127.0.0.1:1" || !strings.Contains(p.Error, "refused") || strings.Contains(p.Error, "name") {
		t.Errorf("the second is %+v", p)
	}
	if p := s.Processes[2]; p.Error != "/metrics answered 404 Not Found" {
		t.Errorf("the third is %+v", p)
	}
	if s.Missing != 3 {
		t.Errorf("%v are missing", s.Missing)
	}
	if s.Nodes[Worker] != Bad || s.Nodes["index"] != Bad || s.Regions[0].Region != "eu-west-1" {
		t.Errorf("the nodes are %v, the regions %v", s.Nodes, s.Regions)
	}
}

// TestDelaysByRegion: also of a region whose collectors the console does not read, and of
// the moment that was remembered.
func TestDelaysByRegion(t *testing.T) {
	t.Parallel()
	full, err := read(strings.NewReader(told))
	if err != nil {
		t.Fatal(err)
	}
	w := New(Settings{Every: DefaultEvery, Within: DefaultWithin}, Sources{Targets: []Target{{Worker, "http://127.0.0.1:1"}}})
	p, now := w.processes[0], time.Now()
	p.part.Value = full
	p.add(sample{now.Add(-window), figures{}})
	p.add(sample{now, full})
	w.points = []Point{w.point(now)}

	all, one := w.State(""), w.State("unknown")
	if len(all.Regions) != 2 || all.Regions[1].Region != "unknown" || all.Regions[1].Collectors != 0 {
		t.Fatalf("the regions are %+v", all.Regions)
	}
	if r := all.Regions[0]; r.DelayP50 == nil || *r.DelayP50 != 0.05 || math.Abs(*r.DelayP99-0.099) > 1e-9 {
		t.Errorf("the delay of the first is %+v", r)
	}
	if d := all.Delay; d.Region != "" || *d.P50 != 0.1 || *d.Points[0].P50 != 0.1 {
		t.Errorf("the delay of all is %+v", d)
	}
	if d := one.Delay; d.Region != "unknown" || *d.P50 != 0.55 || *d.Points[0].P50 != 0.55 || len(d.Points) != len(all.Delay.Points) {
		t.Errorf("the delay of one is %+v", d)
	}
	if d := w.State("elsewhere").Delay; d.P50 != nil || d.Points[0].P99 != nil {
		t.Errorf("the delay of none is %+v", d)
	}
	if way := all.Ways[2]; way.Way != toQueue || way.P50 == nil || *way.P50 != 0.45 {
		t.Errorf("through the queue it is %+v", way)
	}
}

// TestTheConsolesOwnHistory has a point every ten seconds, for an hour.
func TestTheConsolesOwnHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := New(Settings{Every: DefaultEvery, Within: DefaultWithin}, Sources{})
		p := newProcess(Target{Worker, "http://127.0.0.1:1"})
		w.processes = append(w.processes, p)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go w.remember(ctx)
		n := 0.0
		for range 2 * 3600 {
			w.enter(func() { p.add(counted(time.Now(), n)) })
			n += 5
			time.Sleep(time.Second)
		}
		synctest.Wait()
		d := w.State("").Delay
		if len(d.Points) != mostPoints+1 || d.Source != "console" || d.Points[1].At-d.Points[0].At != 10 {
			t.Fatalf("%d points from %s", len(d.Points), d.Source)
		}
		if last := d.Points[mostPoints-1]; last.Accepted == nil || *last.Accepted != 5 || last.P99 == nil || *last.P99 != 0.99 || last.Indexed == nil || *last.Indexed != 0 {
			t.Errorf("the last is %+v", last)
		}
		stop()
		synctest.Wait()
	})
}
