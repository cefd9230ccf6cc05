package recovery

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"

	"millrace/activities/recovery"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/workflows"
)

// TestReplayHistoryGrowsWithPages: history grows with pages and calls, not with objects, and
// not at all with records.
func TestReplayHistoryGrowsWithPages(t *testing.T) {
	t.Parallel()
	const objects, streams, writers = 2_000, 10, 8 // two pages
	p := newPipeline(t)
	hour := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	store := p.Bucket.Under(backup.Prefix)
	var writing errgroup.Group
	for writer := range writers {
		writing.Go(func() error {
			for n := writer; n < objects/streams; n += writers {
				if err := p.writeObject(store, streams, n, hour); err != nil {
					return err
				}
			}
			return nil
		})
	}
	p.must(writing.Wait())
	began := time.Now()
	run := p.replay("many", workflows.RecoverInput{
		RecoverRequest: recovery.RecoverRequest{From: hour, To: hour.Add(time.Hour)}, Rate: 1e9, Lanes: 4, CallFor: 10 * time.Second,
	})
	result := p.result(run)
	took := time.Since(began)
	if c := result.Backfill; c.Objects != objects || c.Records != objects*recordsEach || c.Indexed+c.Duplicates != c.Records {
		t.Errorf("the result is %+v", c)
	}
	p.must(p.documents.Refresh(t.Context(), p.indices+"*"))
	documents := int64(0)
	for _, state := range p.states() {
		documents += state.Documents
	}
	if documents != objects*recordsEach/streams {
		t.Errorf("%d documents", documents)
	}
	pages, calls := result.Plan.Pages, 0
	events := 0
	for history := p.client.GetWorkflowHistory(t.Context(), run.GetID(), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); history.HasNext(); events++ {
		event, err := history.Next()
		p.must(err)
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
	for _, key := range p.papers() {
		if strings.Contains(key, "/report/") {
			text, err := p.Bucket.Get(t.Context(), key)
			p.must(err)
			report += strings.Count(string(text), "\n")
		}
	}
	if report != objects {
		t.Errorf("the report has %d lines", report)
	}
	t.Logf("%d records of %d objects in %s: %d calls, %d events", result.Backfill.Records, objects, took, calls, events)
}

// recordsEach is how many records writeObject puts into an object.
const recordsEach = 10

// writeObject writes an object of a shard, for each of some streams that had the
// same records in it, so that the index need not be a large one.
func (p *pipeline) writeObject(store *archive.Bucket, streams, shard int, hour time.Time) error {
	made := &written{}
	of := backup.Shard{Created: hour, ID: fmt.Sprintf("shardId-%012d", shard)}
	chain := backup.Open(made, of, "")
	first := backup.Record{Sequence: "1", Arrived: hour}
	for i := range recordsEach {
		record := backup.Record{Sequence: fmt.Sprint(i + 1), Arrived: hour.Add(time.Duration(i) * time.Second), Data: p.record(fmt.Sprintf("m-%d-%d", shard, i), false)}
		if err := chain.Add(record); err != nil {
			return err
		}
	}
	if _, err := chain.Flush(p.t.Context()); err != nil {
		return err
	}
	for n := range streams {
		of.Stream = fmt.Sprintf("another-%d", n)
		if created, err := store.PutNew(p.t.Context(), of.Key(first), made.body, made.meta); err != nil || !created {
			return fmt.Errorf("write object %d of %s: created %v, %w", shard, of.Stream, created, err)
		}
	}
	return nil
}

// written is a backup.Store that keeps what was written last.
type written struct {
	body []byte
	meta map[string]string
}

func (o *written) PutNew(_ context.Context, _ string, body []byte, meta map[string]string) (bool, error) {
	o.body, o.meta = bytes.Clone(body), meta
	return true, nil
}

func (*written) Meta(context.Context, string) (map[string]string, error) { return nil, fs.ErrNotExist }

func (*written) Keys(context.Context, string) iter.Seq2[string, error] {
	return func(func(string, error) bool) {}
}
