package launch

import (
	"context"
	"errors"
	"testing"

	"go.temporal.io/sdk/client"

	"millrace/activities/ingest"
	"millrace/workflows"
)

// TestUnreadableInputDiffersFromAnUnreachableTemporal: the former no
// attempt will read.
func TestUnreadableInputDiffersFromAnUnreachableTemporal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	closed := func(workflow string, input any) (id, run string) {
		t.Helper()
		started, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "unpolled"}, workflow, input)
		if err == nil {
			err = s.TerminateWorkflow(t.Context(), started.GetID(), "", "a test")
		}
		if err != nil {
			t.Fatal(err)
		}
		return started.GetID(), started.GetRunID()
	}
	batchOf, ingestRun := closed("IngestBatch", "no bytes: a text")
	batch, batchRun := closed("ProcessBatch", "no range: a text")
	empty, emptyRun := closed("ProcessBatch", workflows.BatchInput{Stream: testStream})
	gone, canceled := context.WithCancel(t.Context())
	canceled()
	for name, c := range map[string]struct {
		read    func() error
		forever bool
	}{
		"an ingest that is none":   {func() error { _, err := s.IngestInput(t.Context(), batchOf, ingestRun); return err }, true},
		"a batch that is none":     {func() error { _, err := s.RestartBatch(t.Context(), batch, batchRun); return err }, true},
		"a batch without a range":  {func() error { _, err := s.RestartBatch(t.Context(), empty, emptyRun); return err }, true},
		"an ingest that is gone":   {func() error { _, err := s.IngestInput(t.Context(), "ingest/gone", ingestRun); return err }, true},
		"a batch that is gone":     {func() error { _, err := s.RestartBatch(t.Context(), "batch/gone", batchRun); return err }, true},
		"an ingest without answer": {func() error { _, err := s.IngestInput(gone, batchOf, ingestRun); return err }, false},
		"a batch without answer":   {func() error { _, err := s.RestartBatch(gone, batch, batchRun); return err }, false},
	} {
		if err := c.read(); err == nil || errors.Is(err, ingest.ErrUnreadable) != c.forever {
			t.Errorf("%s: %v", name, err)
		}
	}
}
