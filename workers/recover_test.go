package workers_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/audit"
	"millrace/activities/recovery"
	"millrace/deploy/local/localtest"
	"millrace/workers"
	"millrace/workflows"
)

// stuckBucket is one whose reads never return.
type stuckBucket struct {
	recovery.Bucket
	reads chan struct{} // that wait
	over  chan struct{} // closed when none has to any more
}

func (b *stuckBucket) Get(context.Context, string) ([]byte, error) {
	b.reads <- struct{}{}
	<-b.over
	return nil, errors.New("stuck")
}

// manyPages has more pages worked on than one worker may.
func manyPages(ctx workflow.Context, pages int) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{TaskQueue: workflows.SweepQueue, StartToCloseTimeout: time.Hour})
	var last workflow.Future
	for range pages {
		last = workflow.ExecuteActivity(ctx, "SweepObjects", recovery.SweepInput{})
	}
	return last.Get(ctx, nil)
}

// TestSlotsBoundThePagesOfAWorker: what a recovery holds in memory it holds for
// pages, and operators choose how many there are.
func TestSlotsBoundThePagesOfAWorker(t *testing.T) {
	t.Parallel()
	const slots = 2
	c := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...))
	bucket := &stuckBucket{reads: make(chan struct{}, 100), over: make(chan struct{})}
	recoverer := &recovery.Recoverer{Sweeper: recovery.Sweeper{Bucket: bucket}}
	recovering := workers.Recover(c, recoverer, &audit.Auditor{})
	recovering.RegisterWorkflow(manyPages)
	for _, w := range []worker.Worker{recovering, workers.Sweep(c, &recoverer.Sweeper, slots)} {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
	}
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "many", TaskQueue: workflows.RecoverQueue}, manyPages, 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.TerminateWorkflow(context.WithoutCancel(t.Context()), run.GetID(), run.GetRunID(), "the test is over")
		close(bucket.over)
	})
	for range slots {
		select {
		case <-bucket.reads:
		case <-time.After(time.Minute):
			t.Fatal("no worker processes the pages")
		}
	}
	select {
	case <-bucket.reads:
		t.Errorf("a worker with %d slots works on more pages", slots)
	case <-time.After(2 * time.Second): // far longer than it takes to begin one
	}
}
