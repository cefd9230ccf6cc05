package workflows_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/workflows"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"millrace/activities/process"
	"millrace/deploy/local/localtest"
	"millrace/internal/telemetry"
)

// copying is a made-up ledger around what ProcessBatch does its work with.
type copying struct {
	stubborn
	mu     sync.Mutex
	blocks chan struct{} // an attempt waits for it; nil: none does
	did    []string      // in this order
	copied []process.HeldInput
}

func (c *copying) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.did = append(c.did, what)
}

func (c *copying) has(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.did, what)
}

func (c *copying) IndexRange(ctx context.Context, in process.RangeInput) (process.RangeResult, error) {
	for c.blocks != nil {
		select {
		case <-c.blocks:
			return c.stubborn.IndexRange(ctx, in)
		case <-ctx.Done():
			return process.RangeResult{}, ctx.Err()
		case <-time.After(20 * time.Millisecond):
			activity.RecordHeartbeat(ctx)
		}
	}
	return c.stubborn.IndexRange(ctx, in)
}

func (c *copying) BuryRange(ctx context.Context, in process.RangeInput) (process.RangeResult, error) {
	c.note("bury")
	return c.stubborn.BuryRange(ctx, in)
}

func (c *copying) CopyHeld(_ context.Context, in process.HeldInput) (process.HeldResult, error) {
	c.note("copy")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.copied = append(c.copied, in)
	return process.HeldResult{Records: 1}, nil
}

func (c *copying) ReleaseHeld(context.Context, process.HeldInput) error {
	c.note("release")
	return nil
}

func (c *copying) activities() map[string]any {
	return map[string]any{"IndexRange": c.IndexRange, "BuryRange": c.BuryRange, "CopyHeld": c.CopyHeld, "ReleaseHeld": c.ReleaseHeld}
}

func (c *copying) register(w worker.Registry) {
	for name, of := range c.activities() {
		w.RegisterActivityWithOptions(of, activity.RegisterOptions{Name: name})
	}
}

// TestWhatABatchHoldsForLongIsCopiedOnce, and that is resolved when it has
// ended, in whichever way.
func TestWhatABatchHoldsForLongIsCopiedOnce(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	tree := &workflows.BatchNode{Range: wholeRange, State: workflows.NodeSplit, Children: []*workflows.BatchNode{{Range: badRecord, State: workflows.NodeWaiting}}}
	for name, c := range map[string]struct {
		in     workflows.BatchInput
		bad    int
		cancel time.Duration
		did    []string
		pieces []telemetry.Range
	}{
		"indexed before":  {in: workflows.BatchInput{CopyAt: start.Add(time.Hour)}, bad: 2},
		"indexed behind":  {in: workflows.BatchInput{CopyAt: start.Add(time.Minute)}, bad: 8, did: []string{"copy", "release"}, pieces: []telemetry.Range{badRecord}},
		"given up behind": {in: workflows.BatchInput{CopyAt: start.Add(time.Minute)}, bad: 1000, did: []string{"copy", "release"}, pieces: []telemetry.Range{badRecord}},
		"late from the beginning": {
			in: workflows.BatchInput{CopyAt: start.Add(-time.Hour)}, bad: 2, did: []string{"copy", "release"}, pieces: []telemetry.Range{wholeRange},
		},
		"copied by the run before": {in: workflows.BatchInput{CopyAt: start.Add(-time.Hour), Copied: true, Tree: tree}, bad: 2, did: []string{"release"}},
		"canceled": {
			in: workflows.BatchInput{CopyAt: start.Add(time.Minute)}, bad: 1000, cancel: 2 * time.Minute,
			did: []string{"copy", "bury", "release"}, pieces: []telemetry.Range{badRecord},
		},
		"canceled before": {in: workflows.BatchInput{CopyAt: start.Add(time.Hour)}, bad: 1000, cancel: 2 * time.Minute, did: []string{"bury"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := &copying{stubborn: stubborn{bad: c.bad}}
			env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
			env.SetTestTimeout(5 * time.Minute)
			env.SetStartTime(start)
			env.RegisterWorkflow(workflows.ProcessBatch)
			for name, of := range made.activities() {
				env.RegisterActivityWithOptions(of, activity.RegisterOptions{Name: name})
			}
			if c.cancel > 0 {
				env.RegisterDelayedCallback(env.CancelWorkflow, c.cancel)
			}
			c.in.Stream, c.in.Range, c.in.Cause = testStream, wholeRange, badCause
			env.ExecuteWorkflow(workflows.ProcessBatch, c.in)
			var canceled *temporal.CanceledError
			if err := env.GetWorkflowError(); errors.As(err, &canceled) != (c.cancel > 0) || err != nil && canceled == nil {
				t.Fatal(err)
			}
			if !slices.Equal(made.did, c.did) {
				t.Errorf("it did %v, want %v", made.did, c.did)
			}
			var pieces []telemetry.Range
			for _, in := range made.copied {
				for _, p := range in.Pieces {
					pieces = append(pieces, p.Range)
				}
			}
			if !slices.Equal(pieces, c.pieces) {
				t.Errorf("copied were %v, want %v", pieces, c.pieces)
			}
		})
	}
}

// TestManyPiecesAreCopiedAsOne, since each of them stands in the history.
func TestManyPiecesAreCopiedAsOne(t *testing.T) {
	t.Parallel()
	tree := &workflows.BatchNode{Range: numbered(1, 10_000), State: workflows.NodeSplit}
	for n := range workflows.MostCopied + 1 {
		tree.Children = append(tree.Children, &workflows.BatchNode{Range: numbered(100*n+1, 100*n+2), State: workflows.NodeWaiting})
	}
	if got := workflows.Pieces(tree); len(got) != 1 || got[0].Range.First != "1" || got[0].Range.Last != "6402" {
		t.Errorf("%d pieces, the first is %+v", len(got), got[0])
	}
	tree.Children[3].State = workflows.NodeDone
	if got := workflows.Pieces(tree); len(got) != workflows.MostCopied || got[3].Range.First != "401" {
		t.Errorf("%d pieces", len(got))
	}
}

// TestABatchIsCopiedWhileAnAttemptWaits for Elasticsearch, on a real server.
func TestABatchIsCopiedWhileAnAttemptWaits(t *testing.T) {
	t.Parallel()
	made := &copying{blocks: make(chan struct{})}
	s := newServer(t, made.register)
	run, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "batch", TaskQueue: workflows.ProcessQueue},
		workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: wholeRange, Cause: badCause, CopyAt: time.Now().Add(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	var status workflows.BatchStatus
	await(t, "the copy", func() bool {
		answer, err := s.QueryWorkflow(t.Context(), "batch", "", workflows.StatusQuery)
		return err == nil && answer.Get(&status) == nil && made.has("copy") && status.Copied
	})
	if status.Tree.State != workflows.NodeRunning || made.has("release") {
		t.Errorf("while the attempt waits it is %+v, and did %v", status, made.did)
	}
	close(made.blocks)
	if err := run.Get(t.Context(), &status); err != nil || status.Counts.Indexed != 10 || !made.has("release") {
		t.Errorf("it ended with %+v, %v, and did %v", status, err, made.did)
	}
	if len(made.copied) != 1 || made.copied[0].Run != run.GetRunID() {
		t.Errorf("copied were %+v", made.copied)
	}
	s.keep("process", "batch", "batch_copied")
}

// TestBatchesAreCopiedThoughAttemptsFillTheirSlots, and wait for Elasticsearch in
// them for longer than the stream keeps the records.
func TestBatchesAreCopiedThoughAttemptsFillTheirSlots(t *testing.T) {
	t.Parallel()
	made := &copying{blocks: make(chan struct{})}
	s := serverIn(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...), 1, made.register)
	var runs []client.WorkflowRun
	for _, id := range []string{"first", "second"} {
		run, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.ProcessQueue},
			workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: wholeRange, Cause: badCause, CopyAt: time.Now().Add(time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, run)
	}
	await(t, "both copies", func() bool {
		made.mu.Lock()
		defer made.mu.Unlock()
		return len(made.copied) == len(runs)
	})
	close(made.blocks)
	for _, run := range runs {
		if err := run.Get(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
}
