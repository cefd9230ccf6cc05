package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/internal/snapshot"
	"millrace/workflows"
)

// planned is a schedule that a pipeline should have.
type planned struct {
	name, id string
	make     string // command that makes it
	without  string // what is missing without it
}

func (e *exam) snapshots() planned {
	return planned{"snapshots", workflows.SnapshotID(e.Repository.Name), "starter snapshot schedule", "a recovery indexes everything again from the backup"}
}

func (e *exam) scheduleChecks() (all []check) {
	const group = "schedules"
	for _, p := range []planned{
		e.snapshots(),
		{"retention", workflows.RetentionID(e.names.Stream), "starter retention schedule --days default=14", "indices are kept for ever, until the cluster has no room"},
		{"audits", workflows.AuditID, "starter audit schedule", "nothing proves that no record is lost"},
		{"drills", workflows.DrillID, "starter drill schedule --every 7d", "nothing proves that a recovery would work"},
	} {
		all = append(all, check{group: group, name: p.name, do: helpServer, cluster: true, look: func(ctx context.Context) (verdict, error) { return e.scheduled(ctx, p) }})
	}
	return append(all, check{group: group, name: "canary", do: helpServer, cluster: true, look: e.canary}, check{group: group, name: "last snapshot", do: helpAWS, cluster: true, look: e.lastSnapshot})
}

// scheduled looks whether a schedule is there and not paused, and how its last run ended.
func (e *exam) scheduled(ctx context.Context, p planned) (verdict, error) {
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	described, err := describeSchedule(ctx, c, p.id)
	if isNotFound(err) {
		return warn(p.make, "there is no schedule %s: %s", p.id, p.without), nil
	}
	if err != nil {
		return verdict{}, err
	}
	if state := described.Schedule.State; state != nil && state.Paused {
		return warn(fmt.Sprintf("temporal schedule toggle --unpause --schedule-id %s --reason REASON", p.id), "schedule %s is paused: %s", p.id, inOneLine(orDash(state.Note), longestDetail)), nil
	}
	run := ""
	if recent := described.Info.RecentActions; len(recent) > 0 && recent[len(recent)-1].StartWorkflowResult != nil {
		run = recent[len(recent)-1].StartWorkflowResult.WorkflowID
	}
	if run == "" {
		return fine("%s, every %v; it has not run yet", p.id, every(described)), nil
	}
	return e.lastRun(ctx, c, p, run, every(described))
}

// describeSchedule asks for a schedule. The error may be isNotFound.
func describeSchedule(ctx context.Context, c client.Client, id string) (*client.ScheduleDescription, error) {
	described, err := c.ScheduleClient().GetHandle(ctx, id).Describe(ctx)
	if err != nil {
		return nil, fmt.Errorf("describe schedule %s: %w", id, err)
	}
	return described, nil
}

// every is how often a schedule runs; zero if it says otherwise than starter.
func every(described *client.ScheduleDescription) time.Duration {
	if spec := described.Schedule.Spec; spec != nil && len(spec.Intervals) > 0 {
		return spec.Intervals[0].Every
	}
	return 0
}

func (e *exam) lastRun(ctx context.Context, c client.Client, p planned, run string, every time.Duration) (verdict, error) {
	described, err := c.DescribeWorkflowExecution(ctx, run, "")
	if isNotFound(err) {
		return fine("%s, every %v; its last run is forgotten", p.id, every), nil
	}
	if err != nil {
		return verdict{}, fmt.Errorf("describe %s: %w", run, advise(err, ""))
	}
	switch status := described.GetWorkflowExecutionInfo().GetStatus(); status {
	case enums.WORKFLOW_EXECUTION_STATUS_FAILED, enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		why := status.String()
		var failed *temporal.ApplicationError
		if err := c.GetWorkflow(ctx, run, "").Get(ctx, nil); errors.As(err, &failed) {
			why = failed.Type() + ": " + failed.Message()
		}
		return warn("temporal workflow describe --workflow-id "+run, "its last run, %s, ended as %s", run, inOneLine(why, longestDetail)), nil
	}
	for _, pending := range described.GetPendingActivities() {
		if v, wrong := stumbles(run, pending); wrong {
			return v, nil
		}
	}
	return fine("%s, every %v", p.id, every), nil
}

// canary looks at the schedule, and at the last run that has ended: the last one that has begun
// goes on.
func (e *exam) canary(ctx context.Context) (verdict, error) {
	id := workflows.CanaryID(e.names.Stream)
	v, err := e.scheduled(ctx, planned{"canary", id, "starter canary schedule", "nothing tells that records cannot be searched before a reader does"})
	if err != nil || v.Status != checkOK {
		return v, err
	}
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	last, err := lastCanary(ctx, c, id)
	if err != nil || last == nil {
		return v, err
	}
	switch last.Status {
	case enums.WORKFLOW_EXECUTION_STATUS_FAILED.String(), enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT.String():
		return warn("starter canary status", "its last run, %s, ended as %s: %s", last.Workflow, last.Status, last.why()), nil
	}
	return v, nil
}

// overdueAfter is after how many intervals without a good snapshot one is overdue, as for SnapshotIndex.
const overdueAfter = 2

func (e *exam) lastSnapshot(ctx context.Context) (verdict, error) {
	bucket, err := e.objects(ctx)
	if err != nil {
		return verdict{}, err
	}
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	described, err := describeSchedule(ctx, c, e.snapshots().id)
	if isNotFound(err) {
		return skip("no schedule takes any"), nil // another check reports it
	}
	if err != nil {
		return verdict{}, err
	}
	last, err := snapshot.Open(bucket, e.Repository.Name).LastGood(ctx, time.Time{})
	since := last.Started
	if errors.Is(err, snapshot.ErrNone) {
		since = described.Info.CreatedAt
	} else if err != nil {
		return verdict{}, err
	}
	age, within := time.Since(since).Round(time.Second), overdueAfter*every(described)
	switch {
	case age > within && within > 0 && last.Name == "":
		return warn("starter snapshot list", "none is good, since %v", age), nil
	case age > within && within > 0:
		return warn("starter snapshot list", "the last good one, %s, is %v old", last.Name, age), nil
	case last.Name == "":
		return fine("the first is to come"), nil
	}
	return fine("%s is %v old", last.Name, age), nil
}
