package workflows_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"millrace/workflows"
	"millrace/workflows/launch"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/backups"
	"millrace/activities/supervise"
	"millrace/deploy/local/localtest"
	"millrace/internal/control"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// madeUpCopy is a CopyShard that writes an object each time it is canceled; with
// three a shard is at its end.
type madeUpCopy struct {
	mu    sync.Mutex
	calls []backups.CopyInput
}

func (m *madeUpCopy) CopyShard(ctx context.Context, in backups.CopyInput) (backups.CopyResult, error) {
	m.mu.Lock()
	m.calls = append(m.calls, in)
	m.mu.Unlock()
	counts := in.Counts
	counts.Objects++
	for ctx.Err() == nil && counts.Objects < 3 {
		activity.RecordHeartbeat(ctx, backups.CopyProgress{Checkpoint: in.Checkpoint, Counts: in.Counts, Worker: "made up", LagSeconds: 7, Held: 5})
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return backups.CopyResult{CopyProgress: backups.CopyProgress{Counts: counts, Worker: "made up", Checkpoint: telemetry.Checkpoint{
		Sequence: string(rune('0' + counts.Objects)), Closed: counts.Objects == 3,
	}}}, nil
}

func (m *madeUpCopy) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.calls)
}

// newBackup runs the backup's workflows on a real Temporal.
func newBackup(t *testing.T, copyShard any, shards *listed) (server, launch.Backup) {
	t.Helper()
	c := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...))
	s := server{c, launch.Launcher{Client: c}, t}
	launcher := launch.Backup{Launcher: s.Launcher}
	for _, queue := range []string{workflows.BackupQueue, workflows.CopyQueue} {
		w := worker.New(c, queue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
		w.RegisterWorkflow(workflows.BackupStream)
		w.RegisterWorkflow(workflows.BackupShard)
		w.RegisterActivityWithOptions(copyShard, activity.RegisterOptions{Name: "CopyShard"})
		w.RegisterActivity(&supervise.Supervisor{Stream: testStream, Shards: shards, Workflows: launcher})
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
	}
	return s, launcher
}

func TestBackupOfAShardPausesAndGoesOn(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(s server, l launch.Backup, id, command string) error{
		"update": func(_ server, l launch.Backup, _, command string) error {
			return l.Command(t.Context(), testStream, "shard", control.Command{Name: command, Hold: control.Hold{Reason: "a test"}})
		},
		"signal": func(s server, _ launch.Backup, id, command string) error {
			return s.SignalWorkflow(t.Context(), id, "", command, control.Hold{Reason: "a test"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := &madeUpCopy{}
			s, l := newBackup(t, made.CopyShard, &listed{})
			id := workflows.BackupShardID(testStream.Name, testStream.Created, "shard")
			if err := l.Start(t.Context(), supervise.ShardStart{Stream: testStream, Shard: "shard"}); err != nil {
				t.Fatal(err)
			}
			await(t, "the heartbeat", func() bool {
				live, err := l.ShardStatus(t.Context(), testStream, "shard")
				return err == nil && live.LagSeconds == 7 && live.Held == 5
			})
			for n, sequence := range []string{"1", "2"} {
				if err := tell(s, l, id, workflows.Pause); err != nil {
					t.Fatal(err)
				}
				await(t, "the pause", func() bool {
					got, err := l.ShardStatus(t.Context(), testStream, "shard")
					return err == nil && got.State == control.StatePaused && got.Checkpoint.Sequence == sequence && len(got.Holds) == 1
				})
				if state, err := l.Look(t.Context(), testStream, "shard"); state != control.StatePaused {
					t.Errorf("its search attribute says %q, %v", state, err)
				}
				if err := tell(s, l, id, workflows.Resume); err != nil {
					t.Fatal(err)
				}
				await(t, "the next call", func() bool { return made.count() == n+2 })
			}
			var last workflows.BackupShardStatus
			if err := s.GetWorkflow(t.Context(), id, "").Get(t.Context(), &last); err != nil {
				t.Fatal(err)
			}
			if last.State != control.StateDrained || last.Counts.Objects != 3 || made.calls[2].Checkpoint.Sequence != "2" || made.calls[0].For != workflows.DefaultBackupFor {
				t.Errorf("it ended with %+v, the calls are %+v", last, made.calls)
			}
			s.keep("backup", id, "shard_paused_by_"+name)
		})
	}
}

func TestBackupOfAShardGoesOnWhereAClosedRunHadCome(t *testing.T) {
	t.Parallel()
	made := &madeUpCopy{}
	s, l := newBackup(t, made.CopyShard, &listed{})
	ctx, id := t.Context(), workflows.BackupShardID(testStream.Name, testStream.Created, "shard")
	start := supervise.ShardStart{Stream: testStream, Shard: "shard"}
	if err := l.Start(ctx, start); err != nil {
		t.Fatal(err)
	}
	await(t, "the first call", func() bool { return made.count() == 1 })
	if err := l.Command(ctx, testStream, "shard", control.Command{Name: control.CommandCancel}); err != nil {
		t.Fatal(err)
	}
	var canceled *temporal.CanceledError
	var details workflows.BackupShardStatus
	if err := s.GetWorkflow(ctx, id, "").Get(ctx, nil); !errors.As(err, &canceled) || canceled.Details(&details) != nil || details.Checkpoint.Sequence != "1" {
		t.Errorf("canceled, it ended with %v and %+v", err, details)
	}
	s.keep("backup", id, "shard_canceled")
	if err := l.Start(ctx, start); err != nil {
		t.Fatal(err)
	}
	await(t, "the next call", func() bool { return made.count() == 2 })
	if got := made.calls[1]; got.Checkpoint.Sequence != "1" || got.Counts.Objects != 1 {
		t.Errorf("started again it began with %+v", got)
	}
}

// A worker that dies is replaced, and what its last heartbeat said is not lost.
func TestBackupOfAShardLearnsFromTheHeartbeatOfADeadWorker(t *testing.T) {
	t.Parallel()
	dead, started := make(chan struct{}), make(chan struct{})
	s, l := newBackup(t, func(ctx context.Context, _ backups.CopyInput) (backups.CopyResult, error) {
		activity.RecordHeartbeat(ctx, backups.CopyProgress{
			Checkpoint: telemetry.Checkpoint{Sequence: "15"}, Counts: backups.Counts{Records: 15}, Worker: "dead",
		})
		close(started)
		<-dead
		return backups.CopyResult{}, errors.New("too late")
	}, &listed{})
	t.Cleanup(func() { close(dead) })
	if err := l.Start(t.Context(), supervise.ShardStart{Stream: testStream, Shard: "shard"}); err != nil {
		t.Fatal(err)
	}
	<-started
	if err := l.Command(t.Context(), testStream, "shard", control.Command{Name: workflows.Pause}); err != nil {
		t.Fatal(err)
	}
	got, err := l.ShardStatus(t.Context(), testStream, "shard")
	if err != nil || got.State != control.StatePaused || got.Checkpoint.Sequence != "15" || got.Counts.Records != 15 {
		t.Errorf("it is paused with %+v, %v", got, err)
	}
	s.keep("backup", workflows.BackupShardID(testStream.Name, testStream.Created, "shard"), "shard_worker_died")
}

// The backup has its own shards' workflows beside those of the processor, and
// looks after them in the same way.
func TestBackupStreamLooksAfterItsShards(t *testing.T) {
	t.Parallel()
	made, shards := &madeUpCopy{}, &listed{}
	shards.set(stream.Shard{ID: "a"}, stream.Shard{ID: "b", Parents: []string{"a"}})
	s, l := newBackup(t, made.CopyShard, shards)
	id := workflows.BackupStreamID(testStream.Name)
	_, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.BackupQueue}, workflows.BackupStream, workflows.StreamInput{Stream: testStream.Name})
	if err != nil {
		t.Fatal(err)
	}
	s.awaitStates(id, map[string]string{"a": "running", "b": "blocked"})
	for range 2 { // drains the parent
		for _, command := range []string{workflows.Pause, workflows.Resume} {
			update, err := s.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
				WorkflowID: id, UpdateName: command, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{control.Hold{By: "ops"}},
			})
			if err != nil || update.Get(t.Context(), nil) != nil {
				t.Fatalf("%s: %v", command, err)
			}
		}
		await(t, "the next call", func() bool {
			state, err := l.Look(t.Context(), testStream, "a")
			return err == nil && state != control.StatePaused
		})
	}
	s.awaitStates(id, map[string]string{"a": "drained", "b": "running"})
	if state, err := s.Look(t.Context(), testStream, "a"); state != "" || err != nil {
		t.Errorf("the processor has a workflow for the shard, too: %q, %v", state, err)
	}
	if err := s.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	var canceled *temporal.CanceledError
	if err := s.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil); !errors.As(err, &canceled) {
		t.Errorf("it ended with %v", err)
	}
	if state, err := l.Look(t.Context(), testStream, "b"); state != control.StateClosed {
		t.Errorf("shard b is %q, %v", state, err)
	}
	s.keep("backup", id, "stream_resharded_and_stopped")
}

func TestBackupOfAShardContinuesAsNew(t *testing.T) {
	t.Parallel()
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.RegisterWorkflow(workflows.BackupShard)
	env.RegisterActivityWithOptions(func(_ context.Context, in backups.CopyInput) (backups.CopyResult, error) {
		in.Counts.Records += 10
		env.SetContinueAsNewSuggested(true)
		return backups.CopyResult{Waiting: true, CopyProgress: backups.CopyProgress{
			Checkpoint: telemetry.Checkpoint{Sequence: "77"}, Counts: in.Counts, Worker: "w",
		}}, nil
	}, activity.RegisterOptions{Name: "CopyShard"})
	env.ExecuteWorkflow(workflows.BackupShard, workflows.BackupShardInput{Stream: testStream, Shard: "shard", Counts: backups.Counts{Records: 5}})
	var again *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &again) {
		t.Fatalf("it ended with %v", err)
	}
	var next workflows.BackupShardInput
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &next); err != nil {
		t.Fatal(err)
	}
	if next.Checkpoint.Sequence != "77" || next.Counts.Records != 15 || !next.Waiting || next.CallFor != workflows.DefaultBackupFor {
		t.Errorf("the next run begins with %+v", next)
	}
}
