package workflows_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"millrace/workflows"
	"millrace/workflows/launch"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/encoding/protojson"

	"millrace/activities/process"
	"millrace/activities/supervise"
	"millrace/deploy/local/localtest"
	"millrace/internal/control"
	"millrace/internal/indexing"
	"millrace/internal/telemetry"
)

var record = flag.String("record", "", "record the histories of the runs against a real server under this name, for TestHistoriesReplay")

// server runs the processing workflows on a real Temporal, since the SDK's
// test environment drops what a canceled activity returns. The activities are
// made up.
type server struct {
	client.Client
	launch.Launcher
	t *testing.T
}

func newServer(t *testing.T, register func(worker.Registry)) server {
	t.Helper()
	return serverIn(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...), 0, register)
}

// serverIn has so many slots for the activities of each queue; 0: many.
func serverIn(t *testing.T, options client.Options, slots int, register func(worker.Registry)) server {
	t.Helper()
	c := localtest.TemporalClient(t, options)
	for _, queue := range []string{workflows.ProcessQueue, workflows.RangeQueue, workflows.IndexQueue} {
		w := worker.New(c, queue, worker.Options{
			MaxConcurrentActivityExecutionSize: slots, MaxHeartbeatThrottleInterval: 50 * time.Millisecond,
		})
		w.RegisterWorkflow(workflows.ProcessStream)
		w.RegisterWorkflow(workflows.ProcessShard)
		w.RegisterWorkflow(workflows.ProcessBatch)
		register(w)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
	}
	return server{c, launch.Launcher{Client: c}, t}
}

// reported is what the workflow of a shard answers, without what its present call
// says.
func (s server) reported(ctx context.Context, id string) (status workflows.ShardStatus, err error) {
	answer, err := s.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
	if err == nil {
		err = answer.Get(&status)
	}
	return status, err
}

// await polls until a condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen in time", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// stackTrace is the member of a failure that names files of this machine.
var stackTrace = regexp.MustCompile(`"stackTrace": *"(?:[^"\\]|\\.)*"`)

// keep records the history of a workflow for TestHistoriesReplay.
func (s server) keep(family, id, name string) {
	s.t.Helper()
	if *record == "" {
		return
	}
	var all history.History
	for events := s.GetWorkflowHistory(s.t.Context(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			s.t.Fatal(err)
		}
		all.Events = append(all.Events, event)
	}
	text, err := protojson.MarshalOptions{Indent: " "}.Marshal(&all)
	if err == nil {
		text = stackTrace.ReplaceAll(text, []byte(`"stackTrace": ""`))
		err = os.WriteFile(filepath.Join("testdata", "history", family+"_"+name+"_"+*record+".json"), text, 0o644)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// madeUpShard is an IndexShard that moves by one record a call, and when it is
// canceled; with 3 it is at its end.
type madeUpShard struct {
	mu      sync.Mutex
	calls   []process.IndexInput
	endless bool // each call lasts until it is canceled
}

func (m *madeUpShard) IndexShard(ctx context.Context, in process.IndexInput) (process.IndexResult, error) {
	m.mu.Lock()
	m.calls = append(m.calls, in)
	m.mu.Unlock()
	counts := in.Counts
	counts.Add(indexing.Counts{Records: 1, Indexed: 1})
	result := process.IndexResult{Progress: process.Progress{Counts: counts, Worker: "made up", Checkpoint: telemetry.Checkpoint{
		Sequence: string(rune('0' + counts.Records)), Closed: counts.Records == 3,
	}}}
	for m.endless && counts.Records < 3 && ctx.Err() == nil {
		activity.RecordHeartbeat(ctx, process.Progress{Checkpoint: in.Checkpoint, Counts: in.Counts, Worker: "made up", LagSeconds: 7})
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return result, nil
}

func (m *madeUpShard) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.calls)
}

// countOf counts the calls for one shard.
func (m *madeUpShard) countOf(shard string) (calls int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, in := range m.calls {
		if in.Shard == shard {
			calls++
		}
	}
	return calls
}

func (m *madeUpShard) last() process.IndexInput {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[len(m.calls)-1]
}

func (m *madeUpShard) register(w worker.Registry) {
	w.RegisterActivityWithOptions(m.IndexShard, activity.RegisterOptions{Name: "IndexShard"})
}

func TestShardPausesWhenDrainedAndGoesOn(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(s server, id, command string) error{
		"update": func(s server, id, command string) error {
			return s.Command(t.Context(), testStream, "shard", control.Command{Name: command, Hold: control.Hold{Reason: "a test"}})
		},
		"signal": func(s server, id, command string) error {
			return s.SignalWorkflow(t.Context(), id, "", command, control.Hold{Reason: "a test"})
		},
		"signal_without_input": func(s server, id, command string) error {
			return s.SignalWorkflow(t.Context(), id, "", command, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shard := &madeUpShard{endless: true}
			s := newServer(t, shard.register)
			id := workflows.ProcessShardID(testStream.Name, testStream.Created, "shard")
			if err := s.Start(t.Context(), supervise.ShardStart{Stream: testStream, Shard: "shard"}); err != nil {
				t.Fatal(err)
			}
			await(t, "the heartbeat", func() bool {
				live, err := s.ShardStatus(t.Context(), id)
				return err == nil && live.LagSeconds == 7
			})
			if said, running, err := s.Live(t.Context(), testStream, "shard"); !running || said.LagSeconds != 7 || said.Worker == "" {
				t.Errorf("it says %+v, and runs: %v, %v", said, running, err)
			}
			if err := tell(s, id, workflows.Pause); err != nil {
				t.Fatal(err)
			}
			var paused workflows.ShardStatus
			await(t, "the pause", func() (done bool) {
				var err error
				paused, err = s.reported(t.Context(), id)
				return err == nil && (name == "update" || paused.Checkpoint.Sequence != "")
			})
			if paused.State != control.StatePaused || paused.Checkpoint.Sequence != "1" || len(paused.Holds) != 1 {
				t.Errorf("it is paused with %+v", paused)
			}
			if state, err := s.Look(t.Context(), testStream, "shard"); state != control.StatePaused {
				t.Errorf("its search attribute says %q, %v", state, err)
			}
			if said, running, err := s.Live(t.Context(), testStream, "shard"); running || err != nil {
				t.Errorf("paused it says %+v, and runs: %v, %v", said, running, err)
			}
			// Twice, so that two more records bring it to its end.
			for calls := 2; calls <= 3; calls++ {
				if err := tell(s, id, workflows.Resume); err != nil {
					t.Fatal(err)
				}
				await(t, "the next call", func() bool { return shard.count() == calls })
				if calls == 2 {
					if err := tell(s, id, workflows.Pause); err != nil {
						t.Fatal(err)
					}
					await(t, "the second pause", func() bool {
						got, err := s.reported(t.Context(), id)
						return err == nil && got.Checkpoint.Sequence == "2"
					})
				}
			}
			var last workflows.ShardStatus
			if err := s.GetWorkflow(t.Context(), id, "").Get(t.Context(), &last); err != nil {
				t.Fatal(err)
			}
			if last.State != control.StateDrained || last.Counts.Records != 3 || shard.calls[2].Checkpoint.Sequence != "2" {
				t.Errorf("it ended with %+v, the last call began at %+v", last, shard.calls[2].Checkpoint)
			}
			s.keep("process", id, "shard_paused_by_"+name)
		})
	}
}

func TestShardGoesOnWhereAClosedRunHadCome(t *testing.T) {
	t.Parallel()
	shard := &madeUpShard{endless: true}
	s := newServer(t, shard.register)
	ctx, id := t.Context(), workflows.ProcessShardID(testStream.Name, testStream.Created, "shard")
	start := supervise.ShardStart{Stream: testStream, Shard: "shard"}
	if err := s.Start(ctx, start); err != nil {
		t.Fatal(err)
	}
	await(t, "the first call", func() bool { return shard.count() == 1 })
	if err := s.Command(ctx, testStream, "shard", control.Command{Name: control.CommandCancel}); err != nil {
		t.Fatal(err)
	}
	var canceled *temporal.CanceledError
	var details workflows.ShardStatus
	if err := s.GetWorkflow(ctx, id, "").Get(ctx, nil); !errors.As(err, &canceled) || canceled.Details(&details) != nil || details.Checkpoint.Sequence != "1" {
		t.Errorf("canceled, it ended with %v and %+v", err, details)
	}
	s.keep("process", id, "shard_canceled")
	for n, want := range []string{"1", "1"} {
		if state, err := s.Look(ctx, testStream, "shard"); state != control.StateClosed {
			t.Errorf("it is %q, %v", state, err)
		}
		if err := s.Start(ctx, start); err != nil {
			t.Fatal(err)
		}
		await(t, "the next call", func() bool { return shard.count() == 2+n })
		if got := shard.calls[1+n].Checkpoint.Sequence; got != want {
			t.Errorf("started again it began at %q, not %q", got, want)
		}
		if err := s.TerminateWorkflow(ctx, id, "", "a test"); err != nil {
			t.Fatal(err)
		}
	}
}

// A worker that dies while its shard is to pause answers no more. The server
// does not try again what was canceled, and hands over the last heartbeat.
func TestShardLearnsFromTheHeartbeatOfADeadWorker(t *testing.T) {
	t.Parallel()
	dead, started := make(chan struct{}), make(chan struct{})
	s := newServer(t, func(w worker.Registry) {
		w.RegisterActivityWithOptions(func(ctx context.Context, _ process.IndexInput) (process.IndexResult, error) {
			activity.RecordHeartbeat(ctx, process.Progress{
				Checkpoint: telemetry.Checkpoint{Sequence: "15"}, Counts: indexing.Counts{Records: 15, Indexed: 15}, Worker: "dead",
			})
			close(started)
			<-dead
			return process.IndexResult{}, errors.New("too late")
		}, activity.RegisterOptions{Name: "IndexShard"})
	})
	t.Cleanup(func() { close(dead) })
	if err := s.Start(t.Context(), supervise.ShardStart{Stream: testStream, Shard: "shard"}); err != nil {
		t.Fatal(err)
	}
	<-started
	if err := s.Command(t.Context(), testStream, "shard", control.Command{Name: workflows.Pause}); err != nil {
		t.Fatal(err)
	}
	id := workflows.ProcessShardID(testStream.Name, testStream.Created, "shard")
	got, err := s.reported(t.Context(), id)
	if err != nil || got.State != control.StatePaused || got.Checkpoint.Sequence != "15" || got.Counts.Records != 15 {
		t.Errorf("it is paused with %+v, %v", got, err)
	}
	s.keep("process", id, "shard_worker_died")
}

// TestAPauseThatIsOverAtOnceIsAnswered: the next call of IndexShard begins
// before the pause can see that the last one has ended.
func TestAPauseThatIsOverAtOnceIsAnswered(t *testing.T) {
	t.Parallel()
	shard := &madeUpShard{endless: true}
	s := newServer(t, shard.register)
	if err := s.Start(t.Context(), supervise.ShardStart{Stream: testStream, Shard: "shard"}); err != nil {
		t.Fatal(err)
	}
	await(t, "the first call", func() bool { return shard.count() == 1 })
	err := s.Command(t.Context(), testStream, "shard", control.Command{Name: workflows.Pause, Hold: control.Hold{Until: time.Unix(0, 0).UTC()}})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the second call", func() bool { return shard.count() >= 2 })
}
