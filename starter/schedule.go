package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/workflows"
)

// recurring is a workflow that a schedule of Temporal starts again and again.
type recurring struct {
	client  client.Client
	id      string // of the schedule; its runs have the time behind it
	queue   string
	stage   string
	summary string
	// overlapping runs begin while others go on; timeout, if it is not zero, ends each.
	overlapping bool
	timeout     time.Duration
}

// overlap is what happens to a run that is due while another one goes on.
func (r recurring) overlap() enums.ScheduleOverlapPolicy {
	if r.overlapping {
		return enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
	}
	return enums.SCHEDULE_OVERLAP_POLICY_SKIP
}

// set makes the schedule, or brings the one that is there up to date.
//
// Runs do not overlap unless they may: one that finds another still going on is left
// out, since the next will do. When Temporal was away, only runs of the last interval
// are made up for, which is one: many would say what one says.
func (r recurring) set(ctx context.Context, every time.Duration, function, in any) (created bool, err error) {
	attributes := temporal.NewSearchAttributes(workflows.Stage.ValueSet(r.stage))
	action := &client.ScheduleWorkflowAction{
		ID: r.id, Workflow: function, Args: []any{in}, TaskQueue: r.queue, StaticSummary: r.summary, TypedSearchAttributes: attributes,
		WorkflowRunTimeout: r.timeout,
	}
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	_, err = r.client.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: r.id, Spec: spec, Action: action, CatchupWindow: every, Overlap: r.overlap(),
	})
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return false, fmt.Errorf("make the schedule %s: %w", r.id, advise(err, r.queue))
	}
	err = r.client.ScheduleClient().GetHandle(ctx, r.id).Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(there client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			schedule := there.Description.Schedule // its state stays: it may be paused
			schedule.Spec, schedule.Action = &spec, action
			schedule.Policy = &client.SchedulePolicies{Overlap: r.overlap(), CatchupWindow: every}
			return &client.ScheduleUpdate{Schedule: &schedule}, nil
		},
	})
	if err != nil {
		return false, fmt.Errorf("change the schedule %s: %w", r.id, advise(err, r.queue))
	}
	return false, nil
}

// setAndSay makes the schedule, and says what has become of it.
func (r recurring) setAndSay(ctx context.Context, out output, every time.Duration, function, in any) error {
	created, err := r.set(ctx, every, function, in)
	if err != nil {
		return err
	}
	what := "changed"
	if created {
		what = "created"
	}
	fmt.Fprintf(out, "schedule %s: %s, every %s\n", r.id, what, every)
	if !(endless{r.client, r.id, r.queue}).polled(ctx) {
		fmt.Fprintf(out, "No worker polls %s yet: its runs wait until one is started.\n", r.queue)
	}
	return nil
}

// remove deletes the schedule; what it has started goes on.
func (r recurring) remove(ctx context.Context, out output) error {
	err := r.client.ScheduleClient().GetHandle(ctx, r.id).Delete(ctx)
	if isNotFound(err) {
		fmt.Fprintf(out, "schedule %s: there is none\n", r.id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the schedule %s: %w", r.id, advise(err, r.queue))
	}
	fmt.Fprintf(out, "schedule %s: removed\n", r.id)
	return nil
}
