package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local/localtest"
	"millrace/internal/telemetry"
)

// A record that is sent again so late that its index has changed stays one
// document: from the undated index to that of its day, from there to that of its
// year, and where a version that had daily indices only has put it.
func TestLateResendStaysOneDocument(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	now := time.Now().UTC().Truncate(time.Second)
	window := telemetry.Window{DaysBack: telemetry.DefaultDaysBack, DaysAhead: telemetry.DefaultDaysAhead}
	streams := kinesis.NewFromConfig(localtest.AWS(t))
	// put has a record arrive then.
	put := func(id string, at, received time.Time, window telemetry.Window) {
		t.Helper()
		p := window.Place("log", at, received)
		h := telemetry.Head{
			Index: p.Index, Own: p.Own, Earlier: p.Earlier, Digest: telemetry.DigestOf("log", at, []byte(`{}`)),
			ReceivedAt: received, Tenant: s.tenant, Region: "eu-west-1", ID: id, Type: "log", Timestamp: at,
		}
		data, key := telemetry.AppendRecord(nil, h, []byte(`{}`)), h.DocID().PartitionKey()
		_, err := streams.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &s.resources.Stream, Data: data, PartitionKey: &key})
		s.must(err)
	}
	always := telemetry.Window{DaysBack: 10_000, DaysAhead: 10_000} // as before there were other indices than daily ones
	steps := map[string][]func(id string){
		"undated-day":  {func(id string) { put(id, now, now.AddDate(0, 0, -2), window) }, func(id string) { put(id, now, now.Add(-23*time.Hour), window) }},
		"day-year":     {func(id string) { put(id, now.AddDate(0, 0, -8), now, window) }, func(id string) { put(id, now.AddDate(0, 0, -8), now.AddDate(0, 0, 1), window) }},
		"upgrade-past": {func(id string) { put(id, now.AddDate(-2, 0, 0), now, always) }, func(id string) { put(id, now.AddDate(-2, 0, 0), now, window) }},
		"upgrade-far":  {func(id string) { put(id, now.AddDate(2, 0, 0), now, always) }, func(id string) { put(id, now.AddDate(2, 0, 0), now, window) }},
	}
	indices := map[string]string{}
	for id, posts := range steps {
		posts[0](id)
	}
	for _, d := range s.awaitDocuments(len(steps)) {
		indices[fmt.Sprint(d.get("id"))] = d.Index
	}
	for id, posts := range steps {
		posts[1](id)
		put(id+"-fence", now, now, window)
	}
	s.await(func() error {
		skipped, err := s.worker.Metric(t.Context(), "millrace_process_records_total", `outcome="duplicate"`)
		if err == nil && skipped < float64(len(steps)) {
			err = fmt.Errorf("%v resends were skipped", skipped)
		}
		return err
	})
	for _, d := range s.awaitDocuments(2 * len(steps)) {
		if first, resent := indices[fmt.Sprint(d.get("id"))]; resent && d.Index != first {
			t.Errorf("%v is in %s after it was in %s", d.get("id"), d.Index, first)
		}
	}
}
