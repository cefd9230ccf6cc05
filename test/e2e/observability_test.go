package e2e

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"millrace/deploy/local"
	"millrace/deploy/observability"
	"millrace/deploy/observability/prometheus"
	"millrace/starter/console"
	"millrace/test/kit/faultproxy"
)

// faster is the scale of time in the rules: what takes a minute takes ten seconds, in which there are two scrapes.
const faster = 1.0 / 6

// scrapeEvery is longer than a scrape takes on a busy machine, where a readiness check may take its three seconds.
const scrapeEvery = 4 * time.Second

// watched is a pipeline that a real Prometheus scrapes, with our rules.
type watched struct {
	*system
	prometheus *prometheus.Server
}

// watch starts a Prometheus beside a pipeline.
func watch(t *testing.T, s *system) *watched {
	t.Helper()
	root, err := local.FindRoot(".")
	s.must(err)
	program, err := prometheus.BuildServer(t.Context(), root)
	s.must(err)
	rules, err := observability.Rules(observability.Options{Scale: faster})
	s.must(err)
	server, err := prometheus.Start(t.Context(), prometheus.Settings{
		Program: program, Dir: t.TempDir(), Rules: rules, Every: scrapeEvery,
		Targets: map[string][]string{
			observability.CollectorJob: {strings.TrimPrefix(s.collector.Ops, "http://")},
			observability.WorkerJob:    {strings.TrimPrefix(s.worker.Ops, "http://")},
		},
	})
	s.must(err)
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &watched{s, server}
}

// query evaluates an expression at present. A quantile of nothing is no result.
func (w *watched) query(expr string) model.Vector {
	w.t.Helper()
	value, _, _, err := w.prometheus.API.Query(w.t.Context(), expr, time.Now())
	if err != nil {
		w.t.Fatalf("%s: %v", expr, err)
	}
	samples, is := value.(model.Vector)
	if !is {
		w.t.Fatalf("%s is a %s", expr, value.Type())
	}
	return slices.DeleteFunc(samples, func(s *model.Sample) bool { return math.IsNaN(float64(s.Value)) })
}

// TestDashboardsShowRealPipeline: a real Prometheus evaluates every rule, and has a result for every panel and every
// metric, but for those that say what they wait for. An alert fires for a shard that an operator holds.
func TestDashboardsShowRealPipeline(t *testing.T) {
	t.Parallel()
	var proxy *faultproxy.Proxy
	s := start(t, func(at *servers) {
		proxy = proxyOf(t, at.aws)
		at.kinesis = proxy.URL()
		at.canary = true
	})
	s.must(s.StartBackup(t.Context()))
	s.runCanary(time.Second)
	w := watch(t, s)
	proxy.Set(faultproxy.Rule{Name: "entries", Operation: "PutRecords", Fault: faultproxy.RejectEntries{Share: 0.2}})

	w.pauseOneShard() // whose next call is a new activity

	panels, quiet := panelsOf(w)
	posted := 0
	s.await(func() error {
		w.load(posted)
		posted++
		var empty []string
		for name, missing := range panels {
			if missing = slices.DeleteFunc(missing, func(expr string) bool { return len(w.query(expr)) > 0 }); len(missing) == 0 {
				delete(panels, name)
				continue
			}
			panels[name] = missing
			empty = append(empty, name+": "+strings.Join(missing, "; "))
		}
		if len(empty) > 0 {
			return fmt.Errorf("%d panels are empty:\n%s", len(empty), strings.Join(empty, "\n"))
		}
		return nil
	})
	for name, queries := range quiet {
		if slices.ContainsFunc(queries, func(expr string) bool { return len(w.query(expr)) > 0 }) {
			t.Errorf("panel %s has a result, though it says why it has none", name)
		}
	}
	t.Logf("%d panels are declared empty: %v", len(quiet), slices.Sorted(maps.Keys(quiet)))
	w.checkMetrics()
	w.checkRules()
	w.checkHistory()
}

// pauseOneShard pauses a shard until the alert on it fires.
func (w *watched) pauseOneShard() {
	w.t.Helper()
	_, err := w.Starter(w.t.Context(), "shard", "pause", "0", "--reason", "test")
	w.must(err)
	w.await(func() error {
		firing := w.query(`ALERTS{alertname="ShardHeld", alertstate="firing", severity="info", stage="process", shard="shardId-000000000000"}`)
		if len(firing) != 1 {
			return fmt.Errorf("the alert does not fire: %v", firing)
		}
		return nil
	})
	_, err = w.Starter(w.t.Context(), "shard", "resume", "0")
	w.must(err)
}

// panelsOf returns the queries of all panels, by their names, and apart those that a healthy pipeline leaves empty.
func panelsOf(w *watched) (panels, quiet map[string][]string) {
	w.t.Helper()
	panels, quiet = map[string][]string{}, map[string][]string{}
	for _, d := range observability.Dashboards() {
		for _, row := range d.Rows {
			for _, p := range row.Panels {
				name, to := d.ID+"/"+row.Title+"/"+p.Title, panels
				if p.Empty != "" {
					to = quiet
				}
				for _, q := range p.Queries {
					to[name] = append(to[name], q.Filled(10*time.Minute))
				}
			}
		}
	}
	return panels, quiet
}

// load posts some records, of which one is bad, and one was there before.
func (w *watched) load(round int) {
	w.t.Helper()
	var body strings.Builder
	for n := range 20 {
		fmt.Fprintf(&body, `{"id":"seen-%d-%d","type":"log","timestamp":%q}`+"\n", round, n, time.Now().UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&body, `{"id":"seen-%d-0","type":"log"}`+"\n", max(0, round-1))
	fmt.Fprintf(&body, `{"id":"bad-%d","type":"span","timestamp":%q,"duration":"not a number"}`+"\n", round, time.Now().UTC().Format(time.RFC3339))
	w.post("/v1/telemetry", "application/x-ndjson", []byte(body.String()), http.StatusAccepted)
}

// checkMetrics compares the metrics that rules and dashboards use with those that the programs serve.
func (w *watched) checkMetrics() {
	w.t.Helper()
	for _, name := range observability.Metrics() {
		// At any time: on a busy machine a scrape may not succeed in time, and leaves nothing at present.
		found := len(w.query(fmt.Sprintf(`count(present_over_time({__name__=~"%s(_count)?"}[1h]))`, name))) > 0
		switch reason, absent := observability.Absent[name]; {
		case !found && !absent:
			w.t.Errorf("no program serves %s, and nothing says what it waits for", name)
		case found && absent:
			w.t.Errorf("%s is there, though it is declared absent until %s", name, reason)
		}
	}
}

// checkHistory: the console shows what Prometheus has measured.
func (w *watched) checkHistory() {
	w.t.Helper()
	history, err := console.Prometheus(w.prometheus.URL)
	w.must(err)
	w.await(func() error { // its points are a quarter of a minute apart
		points, err := history(w.t.Context())
		if err == nil && !slices.ContainsFunc(points, func(p console.Point) bool {
			return p.P50 != nil && p.P99 != nil && *p.P99 >= *p.P50 && p.Accepted != nil && *p.Accepted > 0 && p.Indexed != nil
		}) {
			err = fmt.Errorf("the history of %d points has no delay", len(points))
		}
		return err
	})
}

// checkRules: Prometheus can evaluate them all.
func (w *watched) checkRules() {
	w.t.Helper()
	known, err := w.prometheus.API.Rules(w.t.Context(), nil)
	w.must(err)
	rules := 0
	for _, group := range known.Groups {
		for _, r := range group.Rules {
			rules++
			name, health, last := "", v1.RuleHealth(""), ""
			switch r := r.(type) {
			case v1.AlertingRule:
				name, health, last = r.Name, r.Health, r.LastError
			case v1.RecordingRule:
				name, health, last = r.Name, r.Health, r.LastError
			}
			if health != v1.RuleHealthGood {
				w.t.Errorf("rule %s is %s: %s", name, health, last)
			}
		}
	}
	if rules < 50 {
		w.t.Errorf("Prometheus has %d rules", rules)
	}
}
