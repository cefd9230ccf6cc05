package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestTerminatedBatchIsReprocessedFromItsCopy: from the copy, since the
// stream has it no longer. While the batch runs that is left to it.
func TestTerminatedBatchIsReprocessedFromItsCopy(t *testing.T) {
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
	_, err = h.Starter(t.Context(), "process", "stop", "--yes")
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

// TestBatchContinuesFromItsCopy when the stream has its records no longer, also in
// a worker that was killed, and then releases it.
func TestBatchContinuesFromItsCopy(t *testing.T) {
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

// TestGivenUpRecordsLeaveTheBatchCopy: each record is in one open entry.
func TestGivenUpRecordsLeaveTheBatchCopy(t *testing.T) {
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
