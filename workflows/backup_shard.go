package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/backups"
	"millrace/internal/control"
	"millrace/internal/telemetry"
)

// BackupShardInput is the input of BackupShard. All but stream and shard is
// what a run hands over to the next.
type BackupShardInput struct {
	Stream     telemetry.StreamID   `json:"stream"`
	Shard      string               `json:"shard"`
	Checkpoint telemetry.Checkpoint `json:"checkpoint,omitzero"` // zero: TRIM_HORIZON
	Counts     backups.Counts       `json:"counts,omitzero"`
	Holds      holds                `json:"holds,omitempty"`
	Orders     orders               `json:"orders,omitempty"`
	Waiting    bool                 `json:"waiting,omitempty"`
	// CallFor is how long one call of CopyShard takes; DefaultBackupFor when
	// zero.
	CallFor time.Duration `json:"callFor,omitempty"`
}

// BackupShardStatus is what BackupShard answers to the query status, and its
// result. The figures are those of the last call of CopyShard that ended;
// launch.Backup.ShardStatus knows those of the present one.
type BackupShardStatus struct {
	Stream     string               `json:"stream"`
	Shard      string               `json:"shard"`
	State      string               `json:"state"`
	Checkpoint telemetry.Checkpoint `json:"checkpoint"` // all records up to it are durable in the backup
	Counts     backups.Counts       `json:"counts"`
	Held       int                  `json:"held"` // records read behind the checkpoint
	LagSeconds float64              `json:"lagSeconds"`
	Worker     string               `json:"worker,omitempty"` // that backed it up last
	LastError  string               `json:"lastError,omitempty"`
	Holds      []control.Hold       `json:"holds,omitempty"`
	Children   []string             `json:"children,omitempty"` // once it is drained
}

// backupShard is one run of BackupShard.
type backupShard struct {
	in      BackupShardInput
	status  BackupShardStatus
	machine *shardMachine
}

// BackupShard backs up one shard of a stream to its end. It holds the
// checkpoint, which is never ahead of a durable object, and runs CopyShard
// again and again, on whichever worker has room for it; while the shard is
// held, it does not.
//
// Its history grows by six events for each call, that is 576 a day at the
// default of 15 minutes, and it continues as new.
func BackupShard(ctx workflow.Context, in BackupShardInput) (BackupShardStatus, error) {
	s := &backupShard{in: in}
	s.machine = &shardMachine{
		holds: &s.in.Holds, drained: func() bool { return s.status.Checkpoint.Closed },
		call: s.copy, show: s.show, again: s.continueAsNew,
	}
	if err := s.setup(ctx); err != nil {
		return s.status, err
	}
	if err := s.machine.run(ctx); err != nil {
		return s.status, err
	}
	if !s.status.Checkpoint.Closed {
		return s.status, temporal.NewCanceledError(s.status) // the details say how far it came
	}
	return s.status, nil
}

func (s *backupShard) setup(ctx workflow.Context) error {
	if s.in.CallFor <= 0 {
		s.in.CallFor = DefaultBackupFor
	}
	s.status = BackupShardStatus{
		Stream: s.in.Stream.Name, Shard: s.in.Shard, Checkpoint: s.in.Checkpoint, Counts: s.in.Counts,
	}
	s.show(ctx)
	answer := func() (BackupShardStatus, error) { return s.status, nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	return onCommand(ctx, s.command)
}

// command pauses or resumes. A pause is done once the held records are written.
func (s *backupShard) command(ctx workflow.Context, name string, hold control.Hold) (any, error) {
	if s.in.Orders.late(hold) {
		return s.status, nil
	}
	if err := s.machine.apply(ctx, name, hold); err != nil {
		return nil, err
	}
	s.show(ctx)
	return s.status, nil
}

// copy runs one call of CopyShard.
func (s *backupShard) copy(ctx workflow.Context) error {
	err := callShard(ctx, s.machine, copyShardOptions(s.in.CallFor), backups.CopyShard, backups.CopyInput{
		Stream: s.in.Stream, Shard: s.in.Shard, For: s.in.CallFor,
		Checkpoint: s.status.Checkpoint, Counts: s.status.Counts, Waiting: s.in.Waiting,
	}, func(result backups.CopyResult) {
		if !isOwnResult(ctx, result.From, s.status.Checkpoint, result.Worker) {
			return
		}
		s.in.Waiting = result.Waiting
		s.status.Children = result.Children
		s.learn(ctx, result.CopyProgress)
	}, func(last backups.CopyProgress) { s.learn(ctx, last) })
	if err != nil {
		return fmt.Errorf("back up shard %s: %w", s.in.Shard, err)
	}
	return nil
}

func (s *backupShard) learn(ctx workflow.Context, p backups.CopyProgress) {
	if p.Worker == "" { // the details of something else
		return
	}
	s.status.Merge(p)
	s.show(ctx)
}

// Merge brings the status up to date with what a call of CopyShard reports.
func (s *BackupShardStatus) Merge(p backups.CopyProgress) {
	s.Checkpoint, s.Counts, s.Held, s.LagSeconds = p.Checkpoint, p.Counts, p.Held, p.LagSeconds
	s.Worker, s.LastError = p.Worker, p.LastError
}

// PauseBy enters that the shard's activity is paused in Temporal.
func (s *BackupShardStatus) PauseBy(pause control.Hold) {
	s.State, s.Holds = control.StatePaused, append(slices.Clone(s.Holds), pause)
}

// continueAsNew hands over to the next run.
func (s *backupShard) continueAsNew(ctx workflow.Context) error {
	s.in.Holds.applySignals(ctx)
	s.in.Checkpoint, s.in.Counts = s.status.Checkpoint, s.status.Counts
	return workflow.NewContinueAsNewError(ctx, BackupShard, s.in)
}

// show brings up to date what operators see.
func (s *backupShard) show(ctx workflow.Context) {
	state := control.StateRunning
	switch {
	case s.status.Checkpoint.Closed:
		state = control.StateDrained
	case len(s.in.Holds) > 0:
		state = control.StatePaused
	case s.in.Waiting:
		state = control.StateWaiting
	}
	s.status.Holds = s.in.Holds
	setState(ctx, &s.status.State, state)
	workflow.SetCurrentDetails(ctx, s.status.Markdown())
}

// Markdown shows the status in the Temporal UI.
func (s BackupShardStatus) Markdown() string {
	var t table
	t.row("State", s.State)
	for _, hold := range s.Holds {
		t.row("Paused by", describe(hold))
	}
	t.row("Backed up to", orNone(s.Checkpoint.Sequence, "nothing yet: it begins with what the stream keeps"))
	if !s.Checkpoint.ReadUpTo.IsZero() {
		t.row("That arrived by", s.Checkpoint.ReadUpTo.UTC().Format(time.RFC3339))
	}
	t.row("Lag", time.Duration(s.LagSeconds*float64(time.Second)).Round(time.Second).String())
	c := s.Counts
	t.row("Records", fmt.Sprintf("%d, in %d objects", c.Records, c.Objects))
	t.row("Bytes", fmt.Sprintf("%d, compressed to %d", c.Bytes, c.Stored))
	if c.Adopted > 0 {
		t.row("Adopted", fmt.Sprintf("%d objects, that an earlier call had written without knowing it", c.Adopted))
	}
	if c.Losses > 0 {
		t.row("Possible losses", fmt.Sprintf("%d: see the ledger", c.Losses))
	}
	t.row("Worker", s.Worker)
	t.row("Last error", s.LastError)
	if len(s.Children) > 0 {
		t.row("Goes on in", strings.Join(s.Children, ", "))
	}
	return "### Backup of shard " + s.Shard + " of " + s.Stream + "\n\n" + t.String()
}
