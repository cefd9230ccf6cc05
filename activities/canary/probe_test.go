package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"millrace/deploy/local/localtest"
	"millrace/internal/index"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

const key = "mr_id_secret"

// cluster is a real one, with the templates.
func cluster(t *testing.T) *index.Client {
	t.Helper()
	c, err := index.Open(index.Settings{URLs: []string{localtest.Elasticsearch(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Setup(t.Context(), index.Layout{Shards: 3}); err != nil {
		t.Fatal(err)
	}
	return c
}

// collector answers as one would, and stands for the whole pipeline: what it takes is
// indexed, unless it is lost.
type collector struct {
	t         *testing.T
	documents *index.Client
	status    int
	loses     bool
}

func (c collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/telemetry" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "ApiKey "+key {
		c.t.Errorf("it was asked %s %s with %v", r.Method, r.URL, r.Header)
	}
	var records []struct {
		ID, Type  string
		Timestamp time.Time
	}
	if err := json.NewDecoder(r.Body).Decode(&records); err != nil || len(records) != 1 || time.Since(records[0].Timestamp).Abs() > time.Minute {
		c.t.Errorf("it got %+v: %v", records, err)
	}
	if c.status == http.StatusAccepted && !c.loses {
		c.index(records[0].ID)
	}
	w.Header().Set("X-Request-Id", "request-of-"+records[0].ID)
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(c.status)
	fmt.Fprint(w, `{"error":"so it is"}`)
}

func (c collector) index(id string) {
	now := time.Now()
	record, err := telemetry.Parse(telemetry.AppendRecord(nil, telemetry.Head{
		Index: telemetry.CanaryIndex(now), ReceivedAt: now, Tenant: telemetry.CanaryTenant, Region: "r", ID: id, Type: "event", Timestamp: now,
	}, []byte(`{}`)))
	if err != nil {
		c.t.Error(err)
		return
	}
	bulk := &sink.Bulk{}
	bulk.Add(record, now)
	if result := c.documents.Do(context.WithoutCancel(c.t.Context()), bulk); result.Class != outcome.Indexed {
		c.t.Errorf("the record is not indexed: %+v", result)
	}
}

// value is that of a counter or a gauge.
func value(t *testing.T, metric prometheus.Metric) float64 {
	t.Helper()
	var written dto.Metric
	if err := metric.Write(&written); err != nil {
		t.Fatal(err)
	}
	return written.GetCounter().GetValue() + written.GetGauge().GetValue()
}

// probe runs ProbeCollectors as an activity.
func probe(t *testing.T, p *Prober, within time.Duration) (report Report, err error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(p.ProbeCollectors)
	value, err := env.ExecuteActivity(p.ProbeCollectors, ProbeInput{Within: within})
	if err == nil {
		err = value.Get(&report)
	}
	return report, err
}

// TestProbeSaysWhatBecameOfEachRecord, by region, and counts it.
func TestProbeSaysWhatBecameOfEachRecord(t *testing.T) {
	t.Parallel()
	documents, collectors := cluster(t), map[string]string{"away": "http://127.0.0.1:1"}
	for region, c := range map[string]collector{
		"good": {status: http.StatusAccepted}, "lossy": {status: http.StatusAccepted, loses: true},
		"busy": {status: http.StatusServiceUnavailable}, "moved": {status: http.StatusTemporaryRedirect},
	} {
		c.t, c.documents = t, documents
		server := httptest.NewServer(c)
		t.Cleanup(server.Close)
		collectors[region] = server.URL
	}
	const within = 20 * time.Second // several refreshes, also of a busy cluster
	report, err := probe(t, New(collectors, key, documents), within)
	if err != nil || len(report.Probes) != len(collectors) {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, p := range report.Probes {
		want := map[string]struct{ result, text string }{
			"good": {Searchable, ""}, "lossy": {Late, "no search finds it"}, "away": {Refused, "connection refused"},
			"busy": {Refused, `503 Service Unavailable: {"error":"so it is"}`}, "moved": {Refused, "307 Temporary Redirect"},
		}[p.Region]
		if p.Result != want.result || !strings.Contains(p.Error, want.text) || (p.Error == "") != (want.text == "") || strings.Contains(fmt.Sprint(p), key) {
			t.Errorf("%s: %+v", p.Region, p)
		}
		if p.Region != "away" && p.Request != "request-of-"+p.ID {
			t.Errorf("%s: the request is %q", p.Region, p.Request)
		}
		if got := value(t, runs.WithLabelValues(p.Region, p.Result)); got != 1 {
			t.Errorf("%s: %v records are counted as %s", p.Region, got, p.Result)
		}
		if age := float64(time.Now().Unix()) - value(t, lastRun.WithLabelValues(p.Region)); age > 300 {
			t.Errorf("%s: the last run was %v s ago", p.Region, age)
		}
		if (p.Seconds > 0) != (p.Result == Searchable) || p.Seconds > within.Seconds() {
			t.Errorf("%s: it took %v s", p.Region, p.Seconds)
		}
	}
	if len(report.Failed()) != 4 {
		t.Errorf("failed are %v", report.Failed())
	}
	states, err := documents.Indices(t.Context(), telemetry.CanaryIndex(time.Now()))
	if state := states[telemetry.CanaryIndex(time.Now())]; err != nil || state.Shards != 1 {
		t.Errorf("its index is %+v: %v", state, err)
	}
}

// TestOldIndicesOfTheCanaryAreDeleted, and no others. Other canaries may be faster.
func TestOldIndicesOfTheCanaryAreDeleted(t *testing.T) {
	t.Parallel()
	documents := cluster(t)
	day := func(ago int) string { return telemetry.CanaryIndex(time.Now().AddDate(0, 0, -ago)) }
	url := localtest.Elasticsearch(t)
	for _, name := range []string{day(1), day(2), day(400)} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := localtest.Client(t).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	p := New(nil, key, documents)
	report, err := probe(t, p, time.Second)
	if err != nil || slices.Contains(report.Expired, day(0)) || slices.Contains(report.Expired, day(1)) {
		t.Errorf("expired are %q: %v", report.Expired, err)
	}
	if err := p.DropCanaryIndices(t.Context(), DropInput{Indices: report.Expired}); err != nil {
		t.Fatal(err)
	}
	states, err := documents.Indices(t.Context(), telemetry.CanaryIndices)
	_, kept := states[day(1)]
	_, old := states[day(2)]
	_, older := states[day(400)]
	if err != nil || !kept || old || older {
		t.Errorf("there are %q: %v", index.Names(states), err)
	}
	for _, name := range []string{"telemetry-log-2026.11.23", "millrace-canary-*", ""} {
		var refused *temporal.ApplicationError
		if err := p.DropCanaryIndices(t.Context(), DropInput{Indices: []string{name}}); !errors.As(err, &refused) || !refused.NonRetryable() {
			t.Errorf("%q may be deleted: %v", name, err)
		}
	}
}

// bare is a cluster that lacks the canary's template.
type bare struct{ Documents }

func (bare) ReadyForCanary(context.Context) error { return index.ErrNoTemplates }

// TestProbeNeedsTheTemplate: without it, the record could not be found by its id, and
// that would say nothing of the pipeline.
func TestProbeNeedsTheTemplate(t *testing.T) {
	t.Parallel()
	report, err := probe(t, New(map[string]string{"none": "http://127.0.0.1:1"}, key, bare{}), time.Second)
	if err == nil || !strings.Contains(err.Error(), "run `starter setup`") {
		t.Errorf("%+v, %v", report, err)
	}
	for _, result := range []string{Searchable, Refused, Late} {
		if got := value(t, runs.WithLabelValues("none", result)); got != 0 {
			t.Errorf("%v records are counted as %s", got, result)
		}
	}
}
