package activities

import (
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"millrace/internal/telemetry"
)

// TestAnEarlierStreamEndsItsCalls: of a stream that was deleted and made anew
// nothing more is to be had, which is a possible loss behind the checkpoint, for
// the index and for the backup.
func TestAnEarlierStreamEndsItsCalls(t *testing.T) {
	t.Parallel()
	at := telemetry.Checkpoint{Sequence: sequence(3), ReadUpTo: time.Now().Add(-time.Minute)}
	check := func(err error, progress any) {
		t.Helper()
		var application *temporal.ApplicationError
		if !errors.As(err, &application) || application.Type() != StreamReplaced || !application.NonRetryable() || application.Details(progress) != nil {
			t.Errorf("the call ends with %v", err)
		}
	}
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	v := newVault(t, 0)
	a := v.archivist(BackupLimits{})
	earlier := a.Stream
	a.Stream.Created = a.Stream.Created.Add(time.Hour)
	env.RegisterActivity(a.CopyShard)
	_, err := env.ExecuteActivity(a.CopyShard, CopyInput{Stream: earlier, Shard: "shardId-000000000000", Checkpoint: at, For: time.Hour})
	var copied CopyProgress
	check(err, &copied)
	if copied.Checkpoint.Sequence != at.Sequence || copied.Counts.Losses != 1 || len(v.losses) != 1 || v.losses[0].First != at.Sequence || !v.losses[0].StreamCreated.Equal(earlier.Created) {
		t.Errorf("the backup ends at %+v, reported are %+v", copied, v.losses)
	}
	w := calmWorld(10)
	p := w.processor()
	earlier = p.Stream
	p.Stream.Created = p.Stream.Created.Add(time.Hour)
	env.RegisterActivity(p.IndexShard)
	_, err = env.ExecuteActivity(p.IndexShard, IndexInput{Stream: earlier, Shard: "shard", Checkpoint: at, For: time.Hour})
	var indexed Progress
	check(err, &indexed)
	if indexed.Checkpoint.Sequence != at.Sequence || indexed.Counts.Losses != 1 || w.indexed() != 0 {
		t.Errorf("the index ends at %+v", indexed)
	}
}

// TestAShardOfAStreamThatWasMadeAnewIsNotTheEarlierOne, although it has the id of
// one that was drained.
func TestAShardOfAStreamThatWasMadeAnewIsNotTheEarlierOne(t *testing.T) {
	t.Parallel()
	earlier := telemetry.StreamID{Name: "s", Created: time.Unix(1000, 0).UTC()}
	anew := telemetry.StreamID{Name: "s", Created: time.Unix(2000, 0).UTC()}
	known := []ShardState{{ID: "a", State: StateDrained}}
	in := SuperviseInput{Stream: "s", ID: earlier, Shards: known, For: 5 * time.Second}
	looked := 0
	s := &Supervisor{Stage: "made anew", Stream: anew, Shards: listed{"a"}, Workflows: looks{state: map[string]string{"a": StateRunning}, began: func() { looked++ }}}
	result := must(t, s.SuperviseShards, in)
	if looked == 0 || len(result.Shards) != 1 || result.Shards[0].State != StateRunning || !result.Stream.Created.Equal(anew.Created) {
		t.Errorf("after %d looks its shards are %+v", looked, result)
	}
	s.Stream = earlier
	in.ID = anew
	if _, err := execute(t, s.SuperviseShards, in); err == nil {
		t.Error("a worker that has not noticed it goes on with the shards of the later stream")
	}
	in.ID = earlier
	in.For = time.Nanosecond
	if result := must(t, s.SuperviseShards, in); len(result.Shards) != 1 || result.Shards[0].State != StateDrained {
		t.Errorf("of the same stream the shards are %+v", result.Shards)
	}
}
