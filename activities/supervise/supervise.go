package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"millrace/internal/backoff"
	"millrace/internal/control"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Supervisor is what the activities of ProcessStream need.
type Supervisor struct {
	Stage     string // what is done with the shards, for metrics: process or backup
	Stream    telemetry.StreamID
	Shards    stream.Lister
	Workflows ShardWorkflows
	// Ledger has copies of what ProcessBatch workflows hold for long; nil where
	// they are not to be counted, as for the backup.
	Ledger *ledger.Ledger
	// Untold sends dead letters that the queue did not take at first; nil where
	// that is left to another supervisor.
	Untold UntoldLetters
	// Reconcile starts the workflow Reconcile, which takes up what was
	// terminated, if it does not run; nil where that is left to another
	// supervisor.
	Reconcile func(ctx context.Context) error
}

// UntoldLetters are dead letters that the queue did not take. See Teller.
type UntoldLetters interface {
	TellUntold(ctx context.Context) (left int, err error)
}

// ShardWorkflows are the ProcessShard workflows of a stream.
type ShardWorkflows interface {
	// Look returns the state of the workflow of a shard; empty if it has none.
	Look(ctx context.Context, stream telemetry.StreamID, shard string) (state string, err error)
	// Start starts it. A run that closed before its shard was drained is gone
	// on with, from its last checkpoint. That it runs already is success.
	Start(ctx context.Context, start ShardStart) error
	// Command pauses, resumes or cancels it, and waits until that is done.
	// That it does not run is success.
	Command(ctx context.Context, stream telemetry.StreamID, shard string, command control.Command) error
}

// ShardStart says which workflow to start.
type ShardStart struct {
	Stream  telemetry.StreamID
	Shard   string
	Holds   []control.Hold
	CallFor time.Duration
	// Generation of the last recovery.
	Generation uint64
}

// ShardState is one shard as ProcessStream knows it.
type ShardState struct {
	ID      string    `json:"id"`
	Parents []string  `json:"parents,omitempty"`
	State   string    `json:"state"`
	Started time.Time `json:"started,omitzero"` // when its workflow was started last
}

func (s ShardState) equal(o ShardState) bool {
	return s.ID == o.ID && s.State == o.State && s.Started.Equal(o.Started) && slices.Equal(s.Parents, o.Parents)
}

// Input is what ProcessStream knows already.
type Input struct {
	Stream string `json:"stream"`
	// ID is the stream whose shards these are; zero before the first look.
	ID      telemetry.StreamID `json:"id,omitzero"`
	Shards  []ShardState       `json:"shards,omitempty"`
	Holds   []control.Hold     `json:"holds,omitempty"` // for shards that are started
	For     time.Duration      `json:"for"`             // how long to look after them
	CallFor time.Duration      `json:"callFor"`         // see IndexInput.For
	// Generation is for shards that are started: see Hold.
	Generation uint64 `json:"generation,omitempty"`
}

// Result is what has become of the shards.
type Result struct {
	Stream telemetry.StreamID `json:"stream"`
	Shards []ShardState       `json:"shards"`
}

const (
	// pollShards is how often shards are listed: how long the children of a
	// shard wait at the most after it is drained.
	pollShards = 2 * time.Second
	// looksPerSecond bounds the calls to Temporal: a stream of thousands of
	// shards is looked after more slowly.
	looksPerSecond = 50
	// restartAfter is the least time between two starts of one shard's
	// workflow, should it end at once.
	restartAfter = 15 * time.Second
	// reconcileAgainEvery is how often Reconcile is started, should it run no
	// more.
	reconcileAgainEvery = time.Minute
	// commandsAtOnce bounds the shards that are commanded at the same time.
	commandsAtOnce = 16
)

// SuperviseShards starts the workflow of each shard that has none, a child's
// only when its parents are drained, and looks after those that run. It
// returns when a shard has changed, and else when its time is over: so the
// workflow knows the present state, while polling costs no history.
func (s *Supervisor) SuperviseShards(ctx context.Context, in Input) (Result, error) {
	known := in.ID
	in, err := in.checked(s.Stream)
	if err != nil {
		return Result{}, err
	}
	if !known.Created.IsZero() && !known.Created.Equal(s.Stream.Created) {
		slog.Warn("a stream was deleted and made anew: its shards are read from their beginning", "stream", s.Stream.Name, "was", known.Created, "is", s.Stream.Created)
	}
	ctx, cancel := longcall.WithWorkerStop(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel() // before that
	if s.Ledger != nil {
		beside.Go(func() { s.watchCopies(ctx) })
	}
	if s.Untold != nil {
		beside.Go(func() { s.keepTelling(ctx) })
	}
	if s.Reconcile != nil {
		beside.Go(func() { s.keepReconciling(ctx) })
	}
	// When one changes, the call ends, and the next one knows.
	defer s.show(in.Shards)()
	r := &round{
		Supervisor: s, in: in, limit: rate.NewLimiter(looksPerSecond, looksPerSecond), alive: rate.Sometimes{Interval: longcall.HeartbeatEvery},
	}
	result := Result{Stream: s.Stream, Shards: in.Shards}
	for deadline := time.Now().Add(in.For); time.Now().Before(deadline); {
		listed, err := s.Shards.Shards(ctx)
		if err == nil {
			result.Shards, err = r.step(ctx, listed)
		}
		if ctx.Err() == nil && err != nil {
			slog.Warn("could not look after all shards, trying again", "stream", s.Stream.Name, "error", err)
		}
		if !slices.EqualFunc(result.Shards, in.Shards, ShardState.equal) {
			break
		}
		r.heartbeat(ctx)
		if !backoff.Wait(ctx, pollShards) {
			break
		}
	}
	return result, nil
}

// keepReconciling keeps Reconcile running until ctx ends. Where
// collectors take the direct way no other process starts it, and an operator may
// have terminated it.
func (s *Supervisor) keepReconciling(ctx context.Context) {
	for {
		if err := s.Reconcile(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("could not keep Reconcile running, trying again", "error", err)
		}
		if !backoff.Wait(ctx, reconcileAgainEvery) {
			return
		}
	}
}

// round looks after the shards during one call.
type round struct {
	*Supervisor
	in    Input
	limit *rate.Limiter
	alive rate.Sometimes
}

// heartbeat says that the round goes on, though not at every shard: each heartbeat is written.
func (r *round) heartbeat(ctx context.Context) {
	r.alive.Do(func() { activity.RecordHeartbeat(ctx) })
}

// step returns the present state of each listed shard. Where that cannot be
// had, it is the state that was known, and an error.
func (r *round) step(ctx context.Context, listed []stream.Shard) ([]ShardState, error) {
	states := map[string]*ShardState{}
	var shards []ShardState
	for _, shard := range listed {
		shards = append(shards, ShardState{ID: shard.ID, Parents: shard.Parents})
	}
	for _, known := range r.in.Shards {
		at := slices.IndexFunc(shards, func(s ShardState) bool { return s.ID == known.ID })
		switch {
		case at >= 0:
			shards[at].State, shards[at].Started = known.State, known.Started
		case known.State != control.StateDrained:
			// It has left the stream before it was read to its end: its workflow
			// says what that means.
			shards = append(shards, known)
		}
	}
	for i := range shards {
		states[shards[i].ID] = &shards[i]
	}
	var errs []error
	for i := range shards {
		if err := r.lookAfter(ctx, &shards[i], states); err != nil {
			errs = append(errs, err)
		}
		r.heartbeat(ctx)
	}
	return shards, errors.Join(errs...)
}

// lookAfter brings the state of a shard up to date and starts its workflow if
// it is to have one and has none.
func (r *round) lookAfter(ctx context.Context, shard *ShardState, all map[string]*ShardState) error {
	if shard.State == control.StateDrained {
		return nil
	}
	for _, parent := range shard.Parents {
		// One that is not listed any more is past the stream's retention.
		if p := all[parent]; p != nil && p.State != control.StateDrained {
			shard.State = control.StateBlocked
			return nil
		}
	}
	if err := r.limit.Wait(ctx); err != nil {
		return err
	}
	state, err := r.Workflows.Look(ctx, r.Stream, shard.ID)
	if err != nil {
		return fmt.Errorf("look at the workflow of shard %s: %w", shard.ID, err)
	}
	if state != "" && state != control.StateClosed {
		shard.State = state
		return nil
	}
	if time.Since(shard.Started) < restartAfter {
		shard.State = control.StateClosed
		return nil
	}
	start := ShardStart{Stream: r.Stream, Shard: shard.ID, Holds: r.in.Holds, CallFor: r.in.CallFor, Generation: r.in.Generation}
	if err := r.Workflows.Start(ctx, start); err != nil {
		return fmt.Errorf("start the workflow of shard %s: %w", shard.ID, err)
	}
	shard.State, shard.Started = control.StateRunning, time.Now().UTC()
	if len(r.in.Holds) > 0 {
		shard.State = control.StatePaused
	}
	slog.Info("started the workflow of a shard", "stream", r.Stream.Name, "shard", shard.ID)
	return nil
}

// CommandInput is a command to all shards of a stream.
type CommandInput struct {
	Stream  telemetry.StreamID `json:"stream"`
	Command control.Command    `json:"command"`
	Shards  []string           `json:"shards"`
}

// CommandShards gives a command to shards and waits until all have obeyed.
func (s *Supervisor) CommandShards(ctx context.Context, in CommandInput) error {
	defer longcall.Heartbeat(ctx, func() any { return in.Command.Name })()
	group, commanding := errgroup.WithContext(ctx)
	group.SetLimit(commandsAtOnce)
	for _, shard := range in.Shards {
		group.Go(func() error {
			if err := s.Workflows.Command(commanding, in.Stream, shard, in.Command); err != nil {
				return fmt.Errorf("%s shard %s: %w", in.Command.Name, shard, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// lettersEvery is how often the letters of untold entries are sent: a list call where
// there are none.
const lettersEvery = 15 * time.Second

// keepTelling reports untold entries again and again, until ctx ends: another
// worker may look after the stream then.
func (s *Supervisor) keepTelling(ctx context.Context) {
	defer untoldNow.DeleteLabelValues(s.Stream.Name)
	for {
		left, err := s.Untold.TellUntold(ctx)
		switch {
		case err == nil:
			untoldNow.WithLabelValues(s.Stream.Name).Set(float64(left))
		case ctx.Err() == nil:
			slog.Warn("could not look for untold ledger entries, trying again", "stream", s.Stream.Name, "error", err)
		}
		if !backoff.Wait(ctx, lettersEvery) {
			return
		}
	}
}

// checked is what must hold of a stream that is supervised: a state that was
// known is carried over only to a shard of the same stream.
func (in Input) checked(ours telemetry.StreamID) (Input, error) {
	if in.Stream != ours.Name {
		return in, fmt.Errorf("supervise stream %s: this worker reads %s", in.Stream, ours.Name)
	}
	switch {
	case in.ID.Created.IsZero() || in.ID.Created.Equal(ours.Created):
	case in.ID.Created.After(ours.Created):
		return in, fmt.Errorf("supervise stream %s of %s: this worker has not noticed yet that it was made anew", in.Stream, in.ID.Created)
	default:
		in.Shards = nil
	}
	return in, nil
}
