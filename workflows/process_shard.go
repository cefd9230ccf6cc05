package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/process"
	"millrace/internal/circuit"
	"millrace/internal/control"
	"millrace/internal/indexing"
	"millrace/internal/telemetry"
)

// What the processing workflows answer to. Each update is a signal of the same
// name and input, too, since tctl knows no updates.
const (
	StatusQuery = "status"
	Pause       = control.CommandPause  // input: control.Hold, or nothing
	Resume      = control.CommandResume // input: control.Hold, of which By matters, or nothing
	// Lift is for ProcessShard alone. Input: control.Hold, of which Tenant
	// matters, or nothing for all tenants.
	Lift = control.CommandLift
)

// ShardInput is the input of ProcessShard. All but stream and shard is what a
// run hands over to the next.
type ShardInput struct {
	Stream     telemetry.StreamID   `json:"stream"`
	Shard      string               `json:"shard"`
	Checkpoint telemetry.Checkpoint `json:"checkpoint,omitzero"` // zero: TRIM_HORIZON
	Counts     indexing.Counts      `json:"counts,omitzero"`
	Holds      holds                `json:"holds,omitempty"`
	Orders     orders               `json:"orders,omitempty"`
	Waiting    bool                 `json:"waiting,omitempty"`
	Circuit    probing              `json:"circuit,omitzero"`
	// CallFor is how long one call of IndexShard takes; DefaultCallFor when zero.
	CallFor time.Duration `json:"callFor,omitempty"`
	// Generation is the highest of those that a recovery has given it.
	Generation uint64 `json:"generation,omitempty"`
	// Tenants are what the last call of IndexShard knew of them.
	Tenants []circuit.TenantState `json:"tenants,omitempty"`
}

// ShardStatus is what ProcessShard answers to the query status, and its
// result. The figures are those of the last call of IndexShard that ended;
// launch.Launcher.ShardStatus knows those of the present one.
type ShardStatus struct {
	Stream     string               `json:"stream"`
	Shard      string               `json:"shard"`
	State      string               `json:"state"`
	Checkpoint telemetry.Checkpoint `json:"checkpoint"`
	Counts     indexing.Counts      `json:"counts"`
	LagSeconds float64              `json:"lagSeconds"`
	Worker     string               `json:"worker,omitempty"` // that indexed it last
	LastError  string               `json:"lastError,omitempty"`
	Holds      []control.Hold       `json:"holds,omitempty"`
	// Offenders are the tenants most of whose records are refused.
	Offenders []circuit.TenantState `json:"offenders,omitempty"`
	Children  []string              `json:"children,omitempty"` // once it is drained
}

// shard is one run of ProcessShard.
type shard struct {
	in      ShardInput
	status  ShardStatus
	machine *shardMachine
	lifted  []string // tenants of which the next call is to know nothing; "" is all
}

// ProcessShard processes one shard of a stream to its end. It holds the
// checkpoint and runs IndexShard again and again, on whichever worker has room
// for it; while the shard is held, it does not.
func ProcessShard(ctx workflow.Context, in ShardInput) (ShardStatus, error) {
	s := &shard{in: in}
	s.machine = &shardMachine{
		holds: &s.in.Holds, drained: func() bool { return s.status.Checkpoint.Closed },
		call: s.index, show: s.show, again: s.continueAsNew, idle: s.awaitProbe,
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

func (s *shard) setup(ctx workflow.Context) error {
	if s.in.CallFor <= 0 {
		s.in.CallFor = DefaultCallFor
	}
	s.status = ShardStatus{
		Stream: s.in.Stream.Name, Shard: s.in.Shard,
		Checkpoint: s.in.Checkpoint, Counts: s.in.Counts,
	}
	s.show(ctx)
	answer := func() (ShardStatus, error) { return s.status, nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	if err := onCommand(ctx, s.command); err != nil {
		return err
	}
	return accept(ctx, []string{Lift}, s.lift)
}

// lift is for an operator who knows that a tenant's records are good now: it is
// judged anew, by what comes.
func (s *shard) lift(ctx workflow.Context, _ string, of control.Hold) (any, error) {
	s.lifted = append(s.lifted, of.Tenant)
	if err := s.machine.long.drain(ctx); err != nil { // which says once more what it knows
		return nil, err
	}
	s.forgetLifted()
	s.show(ctx)
	return s.status, nil
}

// forgetLifted forgets what is known of tenants that were lifted.
func (s *shard) forgetLifted() {
	if len(s.lifted) == 0 {
		return
	}
	s.in.Tenants = slices.DeleteFunc(slices.Clone(s.in.Tenants), func(t circuit.TenantState) bool {
		return slices.Contains(s.lifted, t.Tenant) || slices.Contains(s.lifted, "")
	})
	s.lifted = nil
}

// command pauses or resumes. A pause is done when the shard has drained.
func (s *shard) command(ctx workflow.Context, name string, hold control.Hold) (any, error) {
	if s.in.Orders.late(hold) {
		return s.status, nil
	}
	s.in.Generation = max(s.in.Generation, hold.Generation)
	// A recovery that lets its hold go has no opinion of the shard's records.
	if name == Resume && hold.By != recoverHolder && s.in.Circuit.Trips > 0 {
		s.in.Circuit.Forced = true
	}
	if err := s.machine.apply(ctx, name, hold); err != nil {
		return nil, err
	}
	s.show(ctx)
	return s.status, nil
}

// awaitProbe waits while the circuit is open, until the next probe, or until an
// operator wants something.
func (s *shard) awaitProbe(ctx workflow.Context) bool {
	if !s.in.Circuit.waits(workflow.Now(ctx)) {
		return false
	}
	_, _ = workflow.AwaitWithTimeout(ctx, s.in.Circuit.ProbeAt.Sub(workflow.Now(ctx)), func() bool {
		return s.in.Circuit.Forced || len(s.in.Holds) > 0
	})
	return true
}

// index runs one call of IndexShard.
func (s *shard) index(ctx workflow.Context) error {
	s.forgetLifted()
	err := callShard(ctx, s.machine, indexShardOptions(s.in.CallFor), process.IndexShard, process.IndexInput{
		Stream: s.in.Stream, Shard: s.in.Shard, For: s.in.CallFor,
		Checkpoint: s.status.Checkpoint, Counts: s.status.Counts, Waiting: s.in.Waiting,
		Probe: s.in.Circuit.Trips > 0 && !s.in.Circuit.Forced, Force: s.in.Circuit.Forced,
		Generation: s.in.Generation, Tenants: s.in.Tenants,
	}, func(result process.IndexResult) {
		if !isOwnResult(ctx, result.From, s.status.Checkpoint, result.Worker) {
			return
		}
		s.in.Circuit.learn(result.Tripped, workflow.Now(ctx))
		s.in.Waiting = result.Waiting
		s.status.Children = result.Children
		s.learn(ctx, result.Progress)
	}, func(last process.Progress) { s.learn(ctx, last) })
	if err != nil {
		return fmt.Errorf("index shard %s: %w", s.in.Shard, err)
	}
	return nil
}

func (s *shard) learn(ctx workflow.Context, p process.Progress) {
	if p.Worker == "" { // the details of something else
		return
	}
	s.status.Merge(p)
	s.in.Tenants = p.Tenants
	s.show(ctx)
}

// Merge brings the status up to date with what a call of IndexShard reports.
func (s *ShardStatus) Merge(p process.Progress) {
	s.Checkpoint, s.Counts, s.LagSeconds = p.Checkpoint, p.Counts, p.LagSeconds
	s.Worker, s.LastError, s.Offenders = p.Worker, p.LastError, offenders(p.Tenants)
}

// PauseBy enters that the shard's activity is paused in Temporal.
func (s *ShardStatus) PauseBy(pause control.Hold) {
	s.State, s.Holds = control.StatePaused, append(slices.Clone(s.Holds), pause)
}

// offenders are those of some tenants.
func offenders(of []circuit.TenantState) []circuit.TenantState {
	return slices.DeleteFunc(slices.Clone(of), func(t circuit.TenantState) bool { return !t.Offends() })
}

// probing is the state of a circuit that is open while most tenants' records are refused: the shard stands
// still at its checkpoint, so that neither ledger nor dead-letter queue is
// flooded, and probes its way back. To resume the shard is to process them all
// the same.
type probing struct {
	Trips   int       `json:"trips"` // in a row
	ProbeAt time.Time `json:"probeAt"`
	Forced  bool      `json:"forced,omitempty"` // for one call
}

func (c *probing) learn(tripped bool, now time.Time) {
	if !tripped {
		*c = probing{}
		return
	}
	c.ProbeAt = now.Add(min(firstProbe<<min(c.Trips, 16), longestProbe))
	c.Trips++
}

func (c *probing) waits(now time.Time) bool { return c.Trips > 0 && !c.Forced && now.Before(c.ProbeAt) }

// continueAsNew hands over to the next run.
func (s *shard) continueAsNew(ctx workflow.Context) error {
	s.in.Generation = max(s.in.Generation, s.in.Holds.applySignals(ctx))
	for {
		_, of, got := receiveSignal[control.Hold](ctx, []string{Lift})
		if !got {
			break
		}
		s.lifted = append(s.lifted, of.Tenant)
	}
	s.forgetLifted()
	s.in.Checkpoint, s.in.Counts = s.status.Checkpoint, s.status.Counts
	return workflow.NewContinueAsNewError(ctx, ProcessShard, s.in)
}

// show brings up to date what operators see.
func (s *shard) show(ctx workflow.Context) {
	state := control.StateRunning
	switch {
	case s.status.Checkpoint.Closed:
		state = control.StateDrained
	case len(s.in.Holds) > 0:
		state = control.StatePaused
	case s.in.Circuit.Trips > 0:
		state = control.StateTripped
	case s.in.Waiting:
		state = control.StateWaiting
	}
	s.status.Holds, s.status.Offenders = s.in.Holds, offenders(s.in.Tenants)
	setState(ctx, &s.status.State, state)
	workflow.SetCurrentDetails(ctx, s.status.Markdown())
}
