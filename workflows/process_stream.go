package workflows

import (
	"cmp"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/supervise"
	"millrace/internal/control"
	"millrace/internal/telemetry"
)

// StreamInput is the input of ProcessStream and of BackupStream. All but the stream's name is
// optional, or what a run hands over to the next.
type StreamInput struct {
	Stream string `json:"stream"`
	// CallFor is how long a worker keeps a shard; DefaultCallFor when zero.
	CallFor time.Duration          `json:"callFor,omitempty"`
	ID      telemetry.StreamID     `json:"id,omitzero"`
	Shards  []supervise.ShardState `json:"shards,omitempty"`
	Holds   holds                  `json:"holds,omitempty"`
	Orders  orders                 `json:"orders,omitempty"`
	// Generation is the highest of those that a recovery has given it.
	Generation uint64 `json:"generation,omitempty"`

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *StreamInput) UnmarshalJSON(text []byte) error {
	type plain StreamInput
	return in.unknown.decode(text, (*plain)(in))
}

// StreamStatus is what ProcessStream and BackupStream answer to the query status.
type StreamStatus struct {
	Stream telemetry.StreamID     `json:"stream"`
	State  string                 `json:"state"`
	Shards []supervise.ShardState `json:"shards"`
	Holds  []control.Hold         `json:"holds,omitempty"`
}

// processing is one run of ProcessStream, or of another consumer of a stream.
type processing struct {
	consumer
	in       StreamInput
	state    string
	call     longCall // of SuperviseShards
	commands int      // that are being applied
}

// consumer is what tells those who look after the shards of a stream from each
// other.
type consumer struct {
	again   any           // the workflow's function, to continue as new
	queue   string        // of its activities
	callFor time.Duration // the default
}

// ProcessStream looks after the shards of a stream: it has a ProcessShard
// started for each, also for those that come with resharding. Pausing it
// pauses all of them; canceling it cancels and drains all of them.
//
// Its history grows by six events for each call of SuperviseShards, that is
// 864 a day while nothing changes, and by as many for each change.
func ProcessStream(ctx workflow.Context, in StreamInput) error {
	return consume(ctx, in, consumer{ProcessStream, ProcessQueue, DefaultCallFor})
}

func consume(ctx workflow.Context, in StreamInput, by consumer) error {
	if err := in.unknown.refuse(ctx); err != nil {
		return err
	}
	p := &processing{consumer: by, in: in}
	if p.in.CallFor <= 0 {
		p.in.CallFor = p.callFor
	}
	if err := p.setup(ctx); err != nil {
		return err
	}
	return p.run(ctx)
}

func (p *processing) setup(ctx workflow.Context) error {
	p.show(ctx)
	answer := func() (StreamStatus, error) { return p.status(), nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	return onCommand(ctx, p.command)
}

func (p *processing) run(ctx workflow.Context) error {
	for ctx.Err() == nil {
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			if err := p.finishCommands(ctx); err != nil {
				return err
			}
			if ctx.Err() == nil {
				return workflow.NewContinueAsNewError(ctx, p.again, p.in)
			}
			break
		}
		p.expireHolds(ctx)
		if err := p.supervise(ctx); err != nil {
			return err
		}
	}
	// Canceled: that is how processing is stopped.
	stopping, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if err := p.tellShards(stopping, control.Command{Name: control.CommandCancel}); err != nil {
		return err
	}
	if err := awaitHandlers(ctx); err != nil {
		return err
	}
	return temporal.NewCanceledError()
}

// finishCommands waits, before a run ends, until all shards know what operators
// want, also by signals that were not received yet.
func (p *processing) finishCommands(ctx workflow.Context) error {
	for {
		if err := awaitHandlers(ctx); err != nil {
			return err
		}
		if err := workflow.Await(ctx, func() bool { return p.commands == 0 }); err != nil {
			return nil // canceled, which the caller looks at
		}
		name, hold, got := receiveSignal[control.Hold](ctx, commands)
		if !got {
			return nil
		}
		if _, err := p.command(ctx, name, hold); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// expiryChange is that the holds of a stream expire, as those of its shards do.
const expiryChange = "expire-holds-of-a-stream"

// expireHolds drops the holds that are over.
func (p *processing) expireHolds(ctx workflow.Context) {
	left := p.in.Holds.after(workflow.Now(ctx))
	if len(left) == len(p.in.Holds) || workflow.GetVersion(ctx, expiryChange, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	p.in.Holds = left
	p.show(ctx)
}

// supervise runs one call of SuperviseShards, until the next hold is over at the
// latest.
func (p *processing) supervise(ctx workflow.Context) error {
	call := p.call.begin(ctx, superviseOptions(p.queue))
	callFor := superviseFor
	if left := p.in.Holds.next().Sub(workflow.Now(ctx)); left > 0 {
		callFor = min(callFor, left)
	}
	var result supervise.Result
	err := supervise.SuperviseShards.Execute(call, supervise.Input{
		Stream: p.in.Stream, ID: p.in.ID, Shards: p.in.Shards, Holds: p.in.Holds, For: callFor, CallFor: p.in.CallFor,
		Generation: p.in.Generation,
	}).Get(ctx, &result)
	p.call.end()
	if temporal.IsCanceledError(err) || temporal.IsTimeoutError(err) { // interrupted before a worker took it
		return nil
	}
	if err != nil {
		return fmt.Errorf("supervise shards: %w", err)
	}
	if result.Stream.Name == "" && ignore(ctx, string(supervise.SuperviseShards)) {
		return nil
	}
	p.in.ID, p.in.Shards = result.Stream, result.Shards
	p.show(ctx)
	return nil
}

// command pauses or resumes all shards, also those that are started later.
func (p *processing) command(ctx workflow.Context, name string, hold control.Hold) (any, error) {
	p.commands++
	defer func() { p.commands-- }()
	if hold.Order == 0 {
		hold.Order = nextOrder(ctx, p.in.Orders[cmp.Or(hold.By, Operator)])
	}
	if p.in.Orders.late(hold) {
		return p.status(), nil
	}
	p.in.Holds.apply(name, hold)
	p.in.Generation = max(p.in.Generation, hold.Generation)
	p.show(ctx)
	// The present call may be starting shards without knowing of this.
	if err := p.call.drain(ctx); err != nil {
		return nil, err
	}
	if err := p.tellShards(ctx, control.Command{Name: name, Hold: hold}); err != nil {
		return nil, err
	}
	return p.status(), nil
}

func (p *processing) tellShards(ctx workflow.Context, command control.Command) error {
	in := supervise.CommandInput{Stream: p.in.ID, Command: command}
	for _, shard := range p.in.Shards {
		if shard.State != control.StateDrained && shard.State != control.StateBlocked {
			in.Shards = append(in.Shards, shard.ID)
		}
	}
	if len(in.Shards) == 0 {
		return nil
	}
	err := supervise.CommandShards.Execute(workflow.WithActivityOptions(ctx, commandOptions(p.queue)), in).Get(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s all shards: %w", command.Name, err)
	}
	return nil
}

func (p *processing) status() StreamStatus {
	return StreamStatus{Stream: p.in.ID, State: p.state, Shards: p.in.Shards, Holds: p.in.Holds}
}

// show brings up to date what operators see.
func (p *processing) show(ctx workflow.Context) {
	state := control.StateRunning
	if len(p.in.Holds) > 0 {
		state = control.StatePaused
	}
	setState(ctx, &p.state, state)
	workflow.SetCurrentDetails(ctx, p.status().Markdown())
}
