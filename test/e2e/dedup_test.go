package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"

	"millrace/activities/process"
	"millrace/deploy/pipeline"
	"millrace/internal/load"
	"millrace/test/kit/audit"
)

// Duplicates meet a cache that knows them, or one that is empty, after a
// restart and in another worker: each record is one document all the same.
func TestDuplicatesAreSkippedWithEmptyCaches(t *testing.T) {
	t.Parallel()
	const records, again = 4_000, 1_500
	s := start(t, nil)
	source := &load.Source{Run: s.tenant, Start: time.Now(), Interval: time.Millisecond}
	settings := load.Settings{URL: s.collector.URL, Key: s.key, Records: records, Rate: 400, Duplicates: 0.3}
	sender := load.NewSender(source, settings)
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error { return sender.Run(ctx) })
	// The killed worker must know what comes once more, however far behind it is, and the next one may not read it again:
	// it begins at the last heartbeat.
	s.await(func() error {
		if indexed := s.recorded(); indexed < records/2 {
			return fmt.Errorf("heartbeats tell %d indexed records", indexed)
		}
		return nil
	})
	s.worker.Kill()
	var workers []*pipeline.Program
	for range 2 { // each of them gets one of the two shards
		worker, err := s.StartWorker(t.Context(), slices.Concat(workerEnv, []string{"MILLRACE_INDEX_SLOTS=1"})...)
		s.must(err)
		workers = append(workers, worker)
	}
	s.must(group.Wait())
	if counts := sender.Counts(); counts.Accepted != records || counts.Duplicates < records/4 {
		t.Fatalf("the sender counts %+v", counts)
	}
	s.awaitDocuments(records)

	// What the killed worker knew comes once more.
	settings.Records, settings.Duplicates = again, 0
	before := s.skipped(workers)
	s.must(load.NewSender(source, settings).Run(t.Context()))
	s.await(func() error {
		if now := s.skipped(workers); now.all-before.all < again || now.unknown()-before.unknown() < again/2 || now.known == 0 {
			return fmt.Errorf("%+v duplicates were skipped after %+v, of %d: both ways are to be used", now, before, again)
		}
		return nil
	})
	for _, worker := range workers {
		if indexed, err := worker.Metric(t.Context(), "millrace_process_records_total", `outcome="indexed"`); err != nil || indexed == 0 {
			t.Errorf("%s has indexed %v records, %v", worker.Name, indexed, err)
		}
	}
	report, err := audit.Run(t.Context(), s.stores, audit.Sent{Source: source, Accepted: &sender.Accepted})
	s.must(err)
	if err := report.Clean(); err != nil || report.Indexed != records || report.Others+report.Unanswered > 0 {
		t.Errorf("the report is %+v, %v", report, err)
	}
	s.awaitDocuments(records)
}

// recorded is how many records are indexed by the heartbeats of the shards.
func (s *system) recorded() (indexed int64) {
	s.t.Helper()
	for _, pending := range s.indexing() {
		var progress process.Progress
		if details := pending.GetHeartbeatDetails(); details != nil {
			s.must(converter.GetDefaultDataConverter().FromPayloads(details, &progress))
		}
		indexed += progress.Counts.Indexed
	}
	return indexed
}

// skipped are duplicates.
type skipped struct {
	all   float64
	known float64 // to a cache; of the others Elasticsearch said it
}

func (s skipped) unknown() float64 { return s.all - s.known }

// skipped adds up the duplicates of workers.
func (s *system) skipped(workers []*pipeline.Program) (total skipped) {
	s.t.Helper()
	for _, worker := range workers {
		all, err := worker.Metric(s.t.Context(), "millrace_process_records_total", `outcome="duplicate"`)
		s.must(err)
		known, err := worker.Metric(s.t.Context(), "millrace_dedup_hits_total")
		s.must(err)
		total.all, total.known = total.all+all, total.known+known
	}
	return total
}
