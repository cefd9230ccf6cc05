package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"millrace/internal/telemetry"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
	"millrace/workflows/launch"
)

// TestBisectTreeSurvivesKilledWorkers: they are killed in an attempt at the whole
// range, in one at a leaf whose good records were just indexed, and when they
// have just reported a record that they have written to the ledger. Each record
// ends once.
func TestBisectTreeSurvivesKilledWorkers(t *testing.T) {
	t.Parallel()
	b := &bisecting{}
	b.system = start(t, func(at *servers) {
		b.aws, b.elasticsearch = proxyOf(t, at.aws), proxyOf(t, at.elasticsearch)
		at.aws, at.elasticsearch, at.shards = b.aws.URL(), b.elasticsearch.URL(), 1
		// They are read, and so sent, at once, when all are in the stream.
		b.aws.Set(faultproxy.Rule{Name: "throttled", Operation: "GetRecords", Fault: faultproxy.Throttle()})
	}, patientEnv...)

	// The shard's bulk is refused, and smaller ones; the next one of its size is that of the root.
	bulk := func(name string, fault faultproxy.Fault) faultproxy.Rule {
		return faultproxy.Rule{Name: name, Path: "/_bulk", AtLeast: 100 * bisectedRecords, Times: 1, Fault: fault}
	}
	var whole atomic.Int64
	b.elasticsearch.Set(bulk("shard", refused.Fault), bulk("root", faultproxy.Delay{Before: forLong, Holding: &whole}),
		faultproxy.Rule{Name: "all refused", Path: "/_bulk", Fault: refused.Fault})
	want := b.send()
	b.await(func() error {
		put, err := b.collector.Metric(t.Context(), "millrace_intake_records_total", `where="stream"`)
		if err == nil && put < bisectedRecords {
			err = fmt.Errorf("%g records are in the stream", put)
		}
		return err
	})
	b.aws.Set()
	var batches []string
	b.await(func() error {
		if batches = b.running("ProcessBatch"); len(batches) != 1 {
			return fmt.Errorf("%v run, want one batch", batches)
		}
		return nil
	})
	batch := batches[0]
	b.awaitHolding(&whole)
	b.awaitAttempt(batch, "IndexRange")
	// Else its shard would begin before it again, and the next bulks could be the
	// shard's.
	b.await(func() error {
		shard, err := launch.Launcher{Client: b.operator}.ShardStatus(t.Context(), b.running("ProcessShard")[0])
		if last := batch[strings.LastIndexByte(batch, '-')+1:]; err == nil && telemetry.SequenceOf(last) != shard.Checkpoint.Sequence {
			err = fmt.Errorf("the shard is at %+v, not past %s", shard.Checkpoint, batch)
		}
		return err
	})
	b.worker.Kill()

	var indexed atomic.Int64
	b.elasticsearch.Set(refused, faultproxy.Rule{
		Name: "leaf", Path: "/_bulk", Holds: "neighbour-", Times: 1, Fault: faultproxy.Delay{After: forLong, Holding: &indexed},
	})
	b.must(b.worker.Restart(t.Context()))
	b.awaitHolding(&indexed)
	b.awaitAttempt(batch, "IndexRange")
	b.worker.Kill()

	b.elasticsearch.Set(refused)
	b.must(b.worker.Restart(t.Context()))
	b.awaitDocuments(bisectedRecords - poisonRecords)

	var told atomic.Int64
	b.aws.Set(faultproxy.Rule{
		Name: "letter", Operation: "SendMessageBatch", Holds: b.resources.DeadLetters, Times: 1, Fault: faultproxy.Delay{After: forLong, Holding: &told},
	})
	b.must(b.operator.CancelWorkflow(t.Context(), batch, ""))
	b.awaitHolding(&told)
	b.awaitAttempt(batch, "BuryRange")
	b.worker.Kill()
	b.must(b.worker.Restart(t.Context()))

	b.await(func() error {
		if left := b.running("ProcessBatch"); len(left) > 0 {
			return fmt.Errorf("%v still run", left)
		}
		return nil
	})
	if got := b.ledger(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the ledger has %v, want %v", got, want)
	}
	if groups := b.groups(); len(groups) != 1 || groups[0].Records != poisonRecords {
		t.Errorf("the ledger has %+v, want %d records, each once", groups, poisonRecords)
	}
	b.awaitDocuments(bisectedRecords - poisonRecords)
	report, err := audit.Run(t.Context(), b.stores)
	b.must(err)
	if report.Others != bisectedRecords-poisonRecords || report.OthersDead != poisonRecords || report.Duplicated > 0 {
		t.Errorf("the audit says %+v", report)
	}
}
