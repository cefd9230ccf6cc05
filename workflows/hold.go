package workflows

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"millrace/internal/control"
)

// Operator is in whose name a pause is made that does not say.
const Operator = "operator"

// holds are who keeps a shard, or all of a stream, paused, and until when: a
// recovery and an operator may do so at the same time.
type holds []control.Hold

// apply makes a hold, in place of one by the same, or lifts it.
func (h *holds) apply(command string, hold control.Hold) {
	if hold.By == "" {
		hold.By = Operator
	}
	// A new slice: the old one stands in what queries were answered.
	others := slices.DeleteFunc(slices.Clone(*h), func(o control.Hold) bool { return o.By == hold.By })
	if command == Pause {
		others = append(others, hold)
	}
	*h = others
}

// orders are those of the last command of each holder. An activity that sends
// commands may have been given up, and yet send one: without an order a shard
// would stay paused by who has let it go.
type orders map[string]uint64

// late reports whether a later command in the name of the same holder has been
// applied already.
func (o *orders) late(hold control.Hold) bool {
	by := cmp.Or(hold.By, Operator)
	if hold.Order < (*o)[by] {
		return hold.Order > 0
	}
	if hold.Order > 0 {
		// A new map: the old one stands in what a run was handed over.
		later := maps.Clone(*o)
		if later == nil {
			later = orders{}
		}
		later[by] = hold.Order
		*o = later
	}
	return false
}

// nextOrder is higher than the last one, also than that of a workflow before
// this one, as far as clocks go forward.
func nextOrder(ctx workflow.Context, last uint64) uint64 {
	return max(last+1, uint64(workflow.Now(ctx).UnixMilli()))
}

// wait waits until a hold is made, lifted, or over.
func (h *holds) wait(ctx workflow.Context) error {
	before := *h
	changed := func() bool { return !slices.Equal(before, *h) }
	next := h.next()
	if next.IsZero() {
		return workflow.Await(ctx, changed)
	}
	_, err := workflow.AwaitWithTimeout(ctx, next.Sub(workflow.Now(ctx)), changed)
	*h = h.after(workflow.Now(ctx))
	return err
}

// after returns those that are not over yet.
func (h *holds) after(now time.Time) holds {
	return slices.DeleteFunc(slices.Clone(*h), func(o control.Hold) bool { return !o.Until.IsZero() && !o.Until.After(now) })
}

// next returns when the first hold expires; zero if none does.
func (h *holds) next() (next time.Time) {
	for _, hold := range *h {
		if next.IsZero() || !hold.Until.IsZero() && hold.Until.Before(next) {
			next = hold.Until
		}
	}
	return next
}

var commands = []string{Pause, Resume}

// onCommand handles the commands to pause and to resume.
func onCommand(ctx workflow.Context, apply func(ctx workflow.Context, name string, hold control.Hold) (any, error)) error {
	return accept(ctx, commands, apply)
}

// accept handles updates and signals of these names. An update is answered when
// it is done.
func accept[Input any](ctx workflow.Context, names []string, apply func(ctx workflow.Context, name string, in Input) (any, error)) error {
	for _, name := range names {
		update := func(ctx workflow.Context, in strict[Input]) (any, error) { return apply(ctx, name, in.value) }
		validator := workflow.UpdateHandlerOptions{Validator: func(in strict[Input]) error { return in.validate() }}
		if err := workflow.SetUpdateHandlerWithOptions(ctx, name, update, validator); err != nil {
			return fmt.Errorf("accept the update %s: %w", name, err)
		}
		signals := workflow.GetSignalChannel(ctx, name)
		workflow.GoNamed(ctx, name, func(ctx workflow.Context) {
			for {
				var in strict[Input]
				signals.Receive(ctx, &in)
				err := in.validate()
				if err == nil {
					_, err = apply(ctx, name, in.value)
				}
				logFailedSignal(ctx, name, err)
			}
		})
	}
	return nil
}

func logFailedSignal(ctx workflow.Context, signal string, err error) {
	if err != nil {
		workflow.GetLogger(ctx).Warn("could not apply a signal", "signal", signal, "error", err)
	}
}

// applySignals applies, before a run ends, the signals that were not received yet,
// and returns the highest generation among them.
func (h *holds) applySignals(ctx workflow.Context) (generation uint64) {
	for {
		name, hold, got := receiveSignal[control.Hold](ctx, commands)
		if !got {
			return generation
		}
		h.apply(name, hold)
		generation = max(generation, hold.Generation)
	}
}

// receiveSignal returns a signal of these names that was not received yet: it came
// in the workflow task in which a run ends, before accept could.
func receiveSignal[Input any](ctx workflow.Context, names []string) (name string, in Input, got bool) {
	for _, name := range names {
		if workflow.GetSignalChannel(ctx, name).ReceiveAsync(&in) {
			return name, in, true
		}
	}
	return "", in, false
}

// awaitHandlers waits until all updates are answered.
func awaitHandlers(ctx workflow.Context) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx) // also after a cancel
	defer cancel()
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

// setState brings a workflow's state, and its search attribute, up to date.
func setState(ctx workflow.Context, state *string, to string) {
	if *state == to {
		return
	}
	*state = to
	if err := workflow.UpsertTypedSearchAttributes(ctx, State.ValueSet(to)); err != nil {
		workflow.GetLogger(ctx).Error("could not set the search attribute", "state", to, "error", err)
	}
}
