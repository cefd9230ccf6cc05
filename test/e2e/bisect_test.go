package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"millrace/test/audit"
	"millrace/test/faultproxy"
	"millrace/workflows"
)

// Of a load that is bisected. The good ones that come first keep the circuit
// closed. Behind them one in twenty is poison: so each piece that IndexShard
// looks at has one, and all of them are left to one ProcessBatch.
const (
	firstRecords    = 1000
	bisectedRecords = 320
	poisonEvery     = 20
	poisonRecords   = bisectedRecords / poisonEvery
)

// bisecting is a pipeline whose Elasticsearch refuses each request that poison
// is in, as a whole.
type bisecting struct {
	*world
	aws, elasticsearch *faultproxy.Proxy
}

var refused = faultproxy.Rule{Name: "refused", Path: "/_bulk", Holds: "poison-", Fault: faultproxy.Answer{
	Status: http.StatusBadRequest, Body: `{"error":"by the fault proxy"}`,
}}

// forLong is longer than any worker of the test lives.
const forLong = time.Hour

func (b *bisecting) send(records int, id func(n int) string) {
	b.t.Helper()
	var body bytes.Buffer
	for n := range records {
		fmt.Fprintf(&body, `{"id":%q,"type":"event","timestamp":%q}`+"\n", id(n), time.Now().UTC().Format(time.RFC3339))
	}
	b.post("/v1/telemetry", "application/x-ndjson", body.Bytes(), http.StatusAccepted)
}

// awaitAttempt waits until a worker is in an activity of the batch.
func (b *bisecting) awaitAttempt(batch, activity string) {
	b.t.Helper()
	b.await(time.Minute, func() error {
		described, err := b.operator.DescribeWorkflowExecution(b.t.Context(), batch, "")
		if err != nil {
			return err
		}
		for _, pending := range described.GetPendingActivities() {
			if pending.GetActivityType().GetName() == activity && pending.GetState() == enums.PENDING_ACTIVITY_STATE_STARTED {
				return nil
			}
		}
		return fmt.Errorf("no worker is in %s of %s", activity, batch)
	})
}

// awaitHolding waits until the proxy holds an answer back: what was asked is
// done, and who has asked does not know.
func (b *bisecting) awaitHolding(holding *atomic.Int64) {
	b.t.Helper()
	b.await(time.Minute, func() error {
		if holding.Load() == 0 {
			return errors.New("no answer is held back")
		}
		return nil
	})
}

// TestABisectTreeOutlivesItsWorkers: they are killed in an attempt at the whole
// range, in one at a leaf whose good records were just indexed, and when they
// have just told of a record that they have written to the ledger. Each record
// ends once.
func TestABisectTreeOutlivesItsWorkers(t *testing.T) {
	t.Parallel()
	b := &bisecting{}
	b.world = start(t, func(at *servers) {
		b.aws, b.elasticsearch = proxyOf(t, at.aws), proxyOf(t, at.elasticsearch)
		at.aws, at.elasticsearch, at.shards = b.aws.URL(), b.elasticsearch.URL(), 1
	})
	b.send(firstRecords, func(n int) string { return fmt.Sprint("first-", n) })
	b.awaitDocuments(firstRecords)

	// They are read, and so sent, at once. The shard's bulk is refused; the next one of its size is that of the root.
	bulk := func(name string, fault faultproxy.Fault) faultproxy.Rule {
		return faultproxy.Rule{Name: name, Path: "/_bulk", Holds: "poison-", AtLeast: 100 * bisectedRecords, Times: 1, Fault: fault}
	}
	b.elasticsearch.Set(bulk("shard", refused.Fault), bulk("root", faultproxy.Delay{Before: forLong}), refused)
	b.aws.Set(faultproxy.Rule{Name: "throttled", Operation: "GetRecords", Fault: faultproxy.Throttle()})
	want := map[string]string{}
	b.send(bisectedRecords, func(n int) string {
		if n%poisonEvery == poisonEvery/2 {
			want[fmt.Sprint("poison-", n)] = "canceled"
			return fmt.Sprint("poison-", n)
		}
		return fmt.Sprint("neighbour-", n)
	})
	b.await(time.Minute, func() error {
		put, err := b.collector.Metric(t.Context(), "millrace_intake_records_total", `where="stream"`)
		if err == nil && put < firstRecords+bisectedRecords {
			err = fmt.Errorf("%g records are in the stream", put)
		}
		return err
	})
	b.aws.Set()
	var batches []string
	b.await(time.Minute, func() error {
		if batches = b.running("ProcessBatch"); len(batches) != 1 {
			return fmt.Errorf("%v run, want one batch", batches)
		}
		return nil
	})
	batch := batches[0]
	b.awaitAttempt(batch, "IndexRange")
	// Else its shard would begin before it again, with a circuit that knows only
	// of poison.
	b.await(time.Minute, func() error {
		shard, err := workflows.Launcher{Client: b.operator}.ShardStatus(t.Context(), b.running("ProcessShard")[0])
		if err == nil && !strings.HasSuffix(batch, "-"+shard.Checkpoint.Sequence) {
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
	b.awaitDocuments(firstRecords + bisectedRecords - poisonRecords)

	var told atomic.Int64
	b.aws.Set(faultproxy.Rule{
		Name: "letter", Operation: "SendMessageBatch", Holds: b.resources.DeadLetters, Times: 1, Fault: faultproxy.Delay{After: forLong, Holding: &told},
	})
	b.must(b.operator.CancelWorkflow(t.Context(), batch, ""))
	b.awaitHolding(&told)
	b.awaitAttempt(batch, "BuryRange")
	b.worker.Kill()
	b.must(b.worker.Restart(t.Context()))

	b.await(time.Minute, func() error {
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
	b.awaitDocuments(firstRecords + bisectedRecords - poisonRecords)
	report, err := audit.Run(t.Context(), b.stores)
	b.must(err)
	if report.Others != firstRecords+bisectedRecords-poisonRecords || report.OthersDead != poisonRecords || report.Duplicated > 0 {
		t.Errorf("the audit says %+v", report)
	}
}
