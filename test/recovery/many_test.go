package recovery

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"millrace/activities"
	"millrace/internal/backup"
	"millrace/workflows"
)

// TestManyObjects: history grows with pages and calls, not with objects, and
// not at all with records.
func TestManyObjects(t *testing.T) {
	const objects, each, writers = 10_000, 100, 8
	w := newWorld(t)
	hour := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	store := w.Bucket.Under(backup.Prefix)
	var records [objects * each / 10][]byte // a tenth are distinct: the index need not be a large one
	for n := range records {
		records[n] = w.record(fmt.Sprintf("m-%d", n), false)
	}
	var writing errgroup.Group
	for n := range writers {
		writing.Go(func() error {
			chain := backup.Open(store, backup.Shard{Stream: "another", Created: hour, ID: fmt.Sprintf("shardId-%012d", n)}, "")
			for at := n * objects / writers * each; at < (n+1)*objects/writers*each; at++ {
				record := backup.Record{Sequence: fmt.Sprint(at + 1), Arrived: hour.Add(time.Duration(at%each) * time.Second), Data: records[at%len(records)]}
				if err := chain.Add(record); err != nil {
					return err
				}
				if (at+1)%each > 0 {
					continue
				}
				if _, err := chain.Flush(t.Context()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	w.must(writing.Wait())
	began := time.Now()
	run, err := w.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.ReplayID("many"), TaskQueue: workflows.RecoverQueue},
		workflows.Replay, workflows.RecoverInput{
			RecoverRequest: activities.RecoverRequest{From: hour, To: hour.Add(time.Hour)}, Rate: 1e9, Lanes: 4, CallFor: 10 * time.Second,
		})
	w.must(err)
	result := w.result(run)
	took := time.Since(began)
	if c := result.Backfill; c.Objects != objects || c.Records != objects*each || c.Indexed+c.Duplicates != c.Records {
		t.Errorf("the result is %+v", c)
	}
	w.must(w.documents.Refresh(t.Context(), w.indices+"*"))
	documents := int64(0)
	for _, state := range w.states() {
		documents += state.Documents
	}
	if documents != objects*each/10 {
		t.Errorf("%d documents", documents)
	}
	pages, calls := result.Plan.Pages, 0
	events := 0
	for history := w.client.GetWorkflowHistory(t.Context(), run.GetID(), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); history.HasNext(); events++ {
		event, err := history.Next()
		w.must(err)
		if event.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == "SweepObjects" {
			calls++
		}
	}
	// Each call ends a page, or has taken its time.
	if most := pages + 4*int(took/(10*time.Second)+1); pages != objects/1000 || calls > most {
		t.Errorf("%d calls for %d pages in %s", calls, pages, took)
	}
	if most := 6*calls + 24; events > most {
		t.Errorf("%d events for %d calls", events, calls)
	}
	report := 0
	for _, key := range w.papers() {
		if strings.Contains(key, "/report/") {
			text, err := w.Bucket.Get(t.Context(), key)
			w.must(err)
			report += strings.Count(string(text), "\n")
		}
	}
	if report != objects {
		t.Errorf("the report has %d lines", report)
	}
	t.Logf("%d records of %d objects in %s: %d calls, %d events", result.Backfill.Records, objects, took, calls, events)
}
