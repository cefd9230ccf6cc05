package process

import (
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"millrace/internal/source"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// TestAnEarlierStreamEndsItsCalls: of a stream that was deleted and made anew
// nothing more is to be had, which is a possible loss behind the checkpoint.
func TestAnEarlierStreamEndsItsCalls(t *testing.T) {
	t.Parallel()
	at := telemetry.Checkpoint{Sequence: made.Sequence(3), ReadUpTo: time.Now().Add(-time.Minute)}
	check := func(err error, progress any) {
		t.Helper()
		var application *temporal.ApplicationError
		if !errors.As(err, &application) || application.Type() != source.StreamReplaced || !application.NonRetryable() || application.Details(progress) != nil {
			t.Errorf("the call ends with %v", err)
		}
	}
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	w := calmBackends(10)
	p := w.processor()
	earlier := p.Stream
	p.Stream.Created = p.Stream.Created.Add(time.Hour)
	env.RegisterActivity(p.IndexShard)
	_, err := env.ExecuteActivity(p.IndexShard, IndexInput{Stream: earlier, Shard: "shard", Checkpoint: at, For: time.Hour})
	var indexed Progress
	check(err, &indexed)
	if indexed.Checkpoint.Sequence != at.Sequence || indexed.Counts.Losses != 1 || w.indexed() != 0 {
		t.Errorf("the index ends at %+v", indexed)
	}
}
