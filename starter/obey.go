package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"go.temporal.io/sdk/client"

	"millrace/internal/control"
	"millrace/workflows"
)

// pause is how a pause is made.
type pause struct {
	signed
	Reason string        `help:"Why; shown in the status."`
	For    time.Duration `help:"End the pause after this time; 0: when it is resumed." default:"0s" placeholder:"10m"`
}

// signed is a command that says who gives it: the owner of a pause, who has one each, and
// work continues when none is left; or who answers for a decision.
type signed struct {
	By string `kong:"-"`
}

// AfterApply takes the name from the flag that all commands have.
func (s *signed) AfterApply(by who) error { //nolint:unparam // kong wants it
	s.By = string(by)
	return nil
}

// who is the name of an operator.
type who string

// orMe is the name, or else user and host.
func (w who) orMe() who {
	if w != "" {
		return w
	}
	name, host := workflows.Operator, "unknown"
	if me, err := user.Current(); err == nil {
		name = me.Username
	}
	if known, err := os.Hostname(); err == nil {
		host = known
	}
	return who(name + "@" + host)
}

// Validate reports a pause that would be over before it began.
func (p pause) Validate() error {
	if p.For < 0 {
		return fmt.Errorf("--for: %v is over already", p.For)
	}
	return nil
}

func (p pause) command() control.Command {
	hold := control.Hold{By: p.By, Reason: p.Reason}
	if p.For > 0 {
		hold.Until = time.Now().Add(p.For + time.Second).UTC().Truncate(time.Second) // not before that time
	}
	return control.Command{Name: workflows.Pause, Hold: hold}
}

func (s signed) resume() control.Command {
	return control.Command{Name: workflows.Resume, Hold: control.Hold{By: s.By}}
}

// wait is how long a command waits until it is obeyed.
type wait struct {
	Wait time.Duration `help:"How long to wait until the command has taken effect; 0: do not wait." default:"5m"`
}

// explain says with an error that the time was over, if it was.
func (w wait) explain(waiting context.Context, err error, queue string) error {
	if errors.Is(waiting.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not done within %v (see --wait), and may still happen: no worker answered, or records are still in flight; check that a worker polls %s: %w", w.Wait, queue, err)
	}
	return advise(err, queue)
}

// obey sends a workflow a command, and learns its status from the answer. Without
// waiting it sends a signal, which takes effect later.
func (w endless) obey(ctx context.Context, out output, command control.Command, limit wait, status any) (done bool, err error) {
	execution, err := w.execution(ctx)
	if err != nil {
		return false, err
	}
	if execution != executionRunning {
		return false, fmt.Errorf("%s %s: it does not run (%s)", command.Name, w.id, execution)
	}
	if limit.Wait <= 0 {
		return false, tell(ctx, w.client, out, w.id, command)
	}
	waiting, cancel := context.WithTimeout(ctx, limit.Wait)
	defer cancel()
	update, err := w.client.UpdateWorkflow(waiting, client.UpdateWorkflowOptions{
		WorkflowID: w.id, UpdateName: command.Name, Args: []any{command.Hold},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = update.Get(waiting, status)
	}
	if err != nil {
		return false, fmt.Errorf("%s %s: %w", command.Name, w.id, limit.explain(waiting, err, w.queue))
	}
	return true, nil
}

// tell sends a workflow a signal, which waits for a worker if none runs.
func tell(ctx context.Context, c client.Client, out output, id string, command control.Command) error {
	if err := c.SignalWorkflow(ctx, id, "", command.Name, command.Hold); err != nil {
		return fmt.Errorf("signal %s to %s: %w", command.Name, id, err)
	}
	fmt.Fprintf(out, "%s: will %s\n", id, command.Name)
	return nil
}

// obeyed says how something is after a command.
func obeyed(what, state string, by []control.Hold) string {
	if len(by) == 0 {
		return what + ": " + state
	}
	return fmt.Sprintf("%s: %s, by %s", what, state, holds(by))
}
