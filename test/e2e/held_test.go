package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"millrace/test/kit/faultproxy"
)

// held is a pipeline whose batches hold records for long: they are copied to
// the ledger when they are three seconds old.
type held struct {
	*world
	kinesis, elasticsearch *faultproxy.Proxy
	batches                []string
}

const (
	heldRecords = 20 // too few for a circuit
	copyAfter   = "MILLRACE_COPY_AFTER=3s"
)

func newHeld(t *testing.T) *held {
	t.Helper()
	h := &held{}
	h.world = start(t, func(at *servers) {
		h.kinesis, h.elasticsearch = proxyOf(t, at.aws), proxyOf(t, at.elasticsearch)
		at.kinesis, at.elasticsearch = h.kinesis.URL(), h.elasticsearch.URL()
		at.collector = []string{"MILLRACE_INGEST_START_TIMEOUT=1m"} // what goes both ways has two batches
	}, copyAfter)
	h.elasticsearch.Set(faultproxy.Rule{Name: "undecided", Path: "/_bulk", Fault: faultproxy.RejectItems{Share: 1, Status: 400, Type: "mystery_exception"}})
	var body bytes.Buffer
	for n := range heldRecords {
		fmt.Fprintf(&body, `{"id":"held-%d","type":"event","timestamp":%q}`+"\n", n, time.Now().UTC().Format(time.RFC3339))
	}
	h.post("/v1/telemetry", "application/x-ndjson", body.Bytes(), http.StatusAccepted)
	h.awaitCopies(heldRecords)
	h.batches = h.running("ProcessBatch")
	return h
}

// running are the workflows of a type that run.
func (w *world) running(workflowType string) (ids []string) {
	w.t.Helper()
	page, err := w.operator.ListWorkflow(w.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
		Query: "WorkflowType = '" + workflowType + "' AND ExecutionStatus = 'Running'",
	})
	w.must(err)
	for _, info := range page.GetExecutions() {
		ids = append(ids, info.GetExecution().GetWorkflowId())
	}
	return ids
}

// group is what `starter dlq list` says of records that have the same error.
type group struct {
	Records int
	Error   string
	Held    bool
	HeldBy  []string
	Keys    []string
}

func (w *world) groups() (groups []group) {
	w.t.Helper()
	said, err := w.Starter(w.t.Context(), "dlq", "list", "--json")
	w.must(err)
	w.must(json.Unmarshal([]byte(said), &groups))
	return groups
}

// awaitCopies waits until the ledger has so many records that are held.
func (h *held) awaitCopies(records int) {
	h.t.Helper()
	h.await(func() error {
		if groups := h.groups(); len(groups) != 1 || !groups[0].Held || groups[0].Records != records {
			return fmt.Errorf("the ledger has %+v, want %d records that are held", groups, records)
		}
		return nil
	})
}

// trim has the stream forget the records.
func (h *held) trim() {
	h.kinesis.Set(faultproxy.Rule{
		Name: "trimmed", Operation: "GetShardIterator", Fault: faultproxy.AWSError(http.StatusBadRequest, "ResourceNotFoundException"),
	})
}

// mend lets Elasticsearch take everything.
func (h *held) mend() { h.elasticsearch.Set() }

// TestWhatABatchHeldComesHomeWhenItWasTerminated: from the copy, since the
// stream has it no longer. While the batch runs that is left to it.
func TestWhatABatchHeldComesHomeWhenItWasTerminated(t *testing.T) {
	t.Parallel()
	h := newHeld(t)
	group := h.groups()[0]
	if len(h.batches) == 0 || len(group.HeldBy) != len(h.batches) || group.Error != "mystery_exception" {
		t.Errorf("%v run, and the ledger says %+v", h.batches, group)
	}
	shown, err := h.Starter(t.Context(), "dlq", "show", group.Keys[0])
	h.must(err)
	if !strings.Contains(shown, "is at work on its records") {
		t.Errorf("the entry says:\n%s", shown)
	}
	shown, err = h.Starter(t.Context(), "batch", "show", h.batches[0])
	h.must(err)
	if !strings.Contains(shown, "a copy, since half of the stream's retention is over") {
		t.Errorf("the batch says:\n%s", shown)
	}
	h.await(func() error { // it is counted every minute
		copies, err := h.worker.Metric(t.Context(), "millrace_batch_copies")
		if err == nil && copies != float64(len(group.Keys)) {
			err = fmt.Errorf("%g copies are counted, want %d", copies, len(group.Keys))
		}
		return err
	})
	said, err := h.Starter(t.Context(), "dlq", "reprocess", "--direct", "--wait")
	h.must(err)
	if want := fmt.Sprintf("%d: a ProcessBatch is at work on them", heldRecords); !strings.Contains(said, want) {
		t.Errorf("while they run it says:\n%s", said)
	}
	h.awaitCopies(heldRecords)

	// Reconcile would start them again, and while processing runs it is itself.
	_, err = h.Starter(t.Context(), "process", "stop")
	h.must(err)
	for _, id := range append(h.running("Reconcile"), h.batches...) {
		h.must(h.operator.TerminateWorkflow(t.Context(), id, "", "a test"))
	}
	h.trim()
	h.mend()
	said, err = h.Starter(t.Context(), "dlq", "reprocess", "--direct", "--wait")
	h.must(err)
	if want := fmt.Sprintf("%d in ", heldRecords); !strings.Contains(said, want) || strings.Contains(said, "is at work") {
		t.Errorf("when they are gone it says:\n%s", said)
	}
	h.empty(heldRecords)
	if lost, err := h.worker.Metric(t.Context(), "millrace_process_losses_total"); err != nil || lost != 0 {
		t.Errorf("%g losses are reported, %v", lost, err)
	}
}

// TestABatchGoesOnFromItsCopy when the stream has its records no longer, also in
// a worker that was killed, and then releases it.
func TestABatchGoesOnFromItsCopy(t *testing.T) {
	t.Parallel()
	h := newHeld(t)
	h.trim()
	h.worker.Kill()
	h.mend()
	h.must(h.worker.Restart(t.Context()))
	for _, id := range h.batches {
		_, err := h.Starter(t.Context(), "batch", "retry", id, "--wait", "0")
		h.must(err)
	}
	h.empty(heldRecords)
	listed, err := h.Starter(t.Context(), "dlq", "list", "--done")
	h.must(err)
	if !strings.Contains(listed, "none") { // nothing was ever given up
		t.Errorf("of what is done it lists:\n%s", listed)
	}
}

// TestWhatABatchGivesUpIsNotInItsCopyAsWell: each record is in one open entry.
func TestWhatABatchGivesUpIsNotInItsCopyAsWell(t *testing.T) {
	t.Parallel()
	h := newHeld(t)
	h.leaveLetters()
	for _, id := range h.batches {
		_, err := h.Starter(t.Context(), "batch", "cancel", id)
		h.must(err)
	}
	if groups := h.groups(); len(groups) != 1 || groups[0].Held || groups[0].Records != heldRecords || groups[0].Error != "canceled" {
		t.Errorf("the ledger has %+v", groups)
	}
	want := map[string]string{}
	for n := range heldRecords {
		want[fmt.Sprint("held-", n)] = "canceled"
	}
	h.awaitDead(want)
}
