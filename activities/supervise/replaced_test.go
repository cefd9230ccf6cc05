package supervise

import (
	"testing"
	"time"

	"millrace/internal/control"
	"millrace/internal/telemetry"
	"millrace/test/kit/runs"
)

// TestAShardOfAStreamThatWasMadeAnewIsNotTheEarlierOne, although it has the id of
// one that was drained.
func TestAShardOfAStreamThatWasMadeAnewIsNotTheEarlierOne(t *testing.T) {
	t.Parallel()
	earlier := telemetry.StreamID{Name: "s", Created: time.Unix(1000, 0).UTC()}
	anew := telemetry.StreamID{Name: "s", Created: time.Unix(2000, 0).UTC()}
	known := []ShardState{{ID: "a", State: control.StateDrained}}
	in := Input{Stream: "s", ID: earlier, Shards: known, For: 5 * time.Second}
	looked := 0
	s := &Supervisor{Stage: "made anew", Stream: anew, Shards: listed{"a"}, Workflows: looks{state: map[string]string{"a": control.StateRunning}, began: func() { looked++ }}}
	result := runs.Must(t, s.SuperviseShards, in)
	if looked == 0 || len(result.Shards) != 1 || result.Shards[0].State != control.StateRunning || !result.Stream.Created.Equal(anew.Created) {
		t.Errorf("after %d looks its shards are %+v", looked, result)
	}
	s.Stream = earlier
	in.ID = anew
	if _, err := runs.Execute(t, s.SuperviseShards, in); err == nil {
		t.Error("a worker that has not noticed it goes on with the shards of the later stream")
	}
	in.ID = earlier
	in.For = time.Nanosecond
	if result := runs.Must(t, s.SuperviseShards, in); len(result.Shards) != 1 || result.Shards[0].State != control.StateDrained {
		t.Errorf("of the same stream the shards are %+v", result.Shards)
	}
}
