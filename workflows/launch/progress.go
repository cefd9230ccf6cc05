package launch

import (
	"context"
	"fmt"

	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"millrace/activities/recovery"
	"millrace/workflows"
)

// progressLooks is how often is looked for a moment in which no call ends.
const progressLooks = 10

// RecoverProgress returns the progress of a recovery or a replay, with that of
// the calls that run at the moment by their last heartbeats. The workflow knows
// of calls that ended, the server of those that run: of one that ends between
// two questions it is not to be forgotten what it did, nor counted twice.
func (l Launcher) RecoverProgress(ctx context.Context, id string) (p workflows.RecoverProgress, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	for range progressLooks {
		if p, err = l.queryProgress(ctx, id); err != nil {
			return p, err
		}
		described, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			return p, fmt.Errorf("describe %s: %w", id, err)
		}
		live := p
		calls := addPending(&live, described.GetPendingActivities())
		if calls == 0 && p.Calls == 0 {
			return live, nil
		}
		again, err := l.queryProgress(ctx, id)
		if err != nil {
			return p, err
		}
		if calls == p.Calls && again.Calls == p.Calls && again.Stage == p.Stage && again.RecordsDone == p.RecordsDone && again.ObjectsDone == p.ObjectsDone {
			return live, nil
		}
	}
	return p, nil // calls end all the time: what runs has hardly begun
}

func (l Launcher) queryProgress(ctx context.Context, id string) (p workflows.RecoverProgress, err error) {
	answer, err := l.Client.QueryWorkflow(ctx, id, "", workflows.ProgressQuery)
	if err == nil {
		err = answer.Get(&p)
	}
	if err != nil {
		return p, fmt.Errorf("query %s: %w", id, err)
	}
	return p, nil
}

// addPending adds what activities that run say of themselves, and returns how
// many of them are calls of SweepObjects.
func addPending(p *workflows.RecoverProgress, pendings []*workflowpb.PendingActivityInfo) (calls int) {
	for _, pending := range pendings {
		name := pending.GetActivityType().GetName()
		if name == string(recovery.SweepObjects) {
			calls++
		}
		if failure := pending.GetLastFailure(); failure != nil {
			p.LastError = failure.GetMessage()
		}
		details := pending.GetHeartbeatDetails()
		if details == nil {
			continue
		}
		var live recovery.SweepProgress
		var restore recovery.RestoreProgress
		switch name {
		case string(recovery.SweepObjects):
			if converter.GetDefaultDataConverter().FromPayloads(details, &live) != nil {
				continue
			}
			p.ObjectsDone, p.RecordsDone = p.ObjectsDone+live.Counts.Objects, p.RecordsDone+live.Counts.Records
			p.LastError, p.Pace = live.LastError, live.Pace
		case string(recovery.RestoreIndices):
			if converter.GetDefaultDataConverter().FromPayloads(details, &restore) == nil {
				p.Restore, p.LastError = restore, restore.LastError
			}
		}
	}
	p.Records = max(p.Records, p.RecordsDone)
	return calls
}
