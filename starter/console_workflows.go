package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/recovery"
	"millrace/starter/console"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// finished are recoveries that have ended, by their runs: nothing becomes of them any more.
type finished struct {
	mu sync.Mutex
	of map[string]console.Recovery
}

// mostRecoveries bounds the recoveries, replays and drills that are shown: the last ones.
const mostRecoveries = 8

// recoveries asks for the last recoveries, replays and drills.
func (o *observed) recoveries(ctx context.Context) ([]console.Recovery, error) {
	page, err := o.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: mostRecoveries, Query: "WorkflowType IN ('Recover', 'Replay', 'DrillRecovery') AND ExecutionStatus != 'ContinuedAsNew'",
	})
	if err != nil {
		return nil, fmt.Errorf("list the recoveries: %w", advise(err, ""))
	}
	all, runs := []console.Recovery{}, map[string]console.Recovery{}
	o.ended.mu.Lock()
	defer o.ended.mu.Unlock()
	for _, info := range page.GetExecutions() {
		r, known := o.ended.of[info.GetExecution().GetRunId()]
		if !known {
			r = o.recovery(ctx, info)
		}
		if !r.Ended.IsZero() {
			runs[r.Run] = r
		}
		all = append(all, r)
	}
	o.ended.of = runs
	return all, nil
}

func (o *observed) recovery(ctx context.Context, info *workflow.WorkflowExecutionInfo) console.Recovery {
	r := console.Recovery{
		Workflow: info.GetExecution().GetWorkflowId(), Run: info.GetExecution().GetRunId(), Kind: info.GetType().GetName(),
		Started: info.GetStartTime().AsTime(), State: stateOf(info),
	}
	if !launch.IsOpen(info.GetStatus()) {
		r.Ended, r.State = info.GetCloseTime().AsTime(), strings.ToLower(info.GetStatus().String())
		o.conclude(ctx, &r, info.GetStatus())
		return r
	}
	r.By, _ = startedBy(ctx, o.client, r.Workflow) // one that is not known hides nothing else
	if r.Kind == "DrillRecovery" {
		var drill workflows.DrillResult
		if err := (endless{client: o.client, id: r.Workflow, queue: workflows.RecoverQueue}).query(ctx, &drill); err != nil {
			r.Error = detailOf(err)
			return r
		}
		r.Stage = drill.Stage
		r.Detail = fmt.Sprintf("%d documents in %d indices are to come back", drill.Live.Documents, drill.Live.Indices)
		return r
	}
	p, err := launch.Launcher{Client: o.client}.RecoverProgress(ctx, r.Workflow)
	if err != nil {
		r.Error = detailOf(advise(err, workflows.RecoverQueue))
		return r
	}
	r.State, r.Stage, r.Share, r.Left, r.Error = p.State, p.Stage, new(p.Share()), p.Remaining, inOneLine(p.LastError, longestDetail)
	switch p.Stage {
	case workflows.StageRestore:
		r.Detail = fmt.Sprintf("%d of %d shards", p.Restore.Done, p.Restore.Shards)
	case workflows.StageBackfill, workflows.StageVerify:
		r.Detail = fmt.Sprintf("%d of about %d records, %.0f/s", p.RecordsDone, p.Records, p.Rate)
	}
	return r
}

// conclude enters how one has ended.
func (o *observed) conclude(ctx context.Context, r *console.Recovery, status enums.WorkflowExecutionStatus) {
	run := o.client.GetWorkflow(ctx, r.Workflow, r.Run)
	var err error
	if r.Kind == "DrillRecovery" {
		var result workflows.DrillResult
		if err = run.Get(ctx, &result); err == nil {
			r.State, r.Detail = "complete", fmt.Sprintf("%d documents of %d indices came back", result.Live.Documents, result.Live.Indices)
		}
	} else {
		var result recovery.RecoverResult
		if err = run.Get(ctx, &result); err == nil {
			r.State, r.Error = "complete", inOneLine(result.Error, longestDetail)
			r.Detail = fmt.Sprintf("%d indices restored, %d records backfilled", result.Indices, result.Backfill.Records)
			switch planned := result.Plan.Pages > 0 && result.Backfill.Objects == 0 && !result.Verified && result.Error == ""; {
			case planned:
				r.State, r.Detail = "planned", "a dry run: nothing was changed"
			case !result.Complete:
				r.State = "not complete"
			}
		}
	}
	var failed *temporal.ApplicationError
	if errors.As(err, &failed) && status == enums.WORKFLOW_EXECUTION_STATUS_FAILED {
		r.Error = inOneLine(failed.Message(), longestDetail)
	}
}

// auditWorkflow is the id of AuditBackup, which audits the backup.
const auditWorkflow = "audit"

// residual asks the last audit what it found. A pipeline without one is not audited.
func (o *observed) residual(ctx context.Context) (r console.Residual, err error) {
	audit := endless{client: o.client, id: auditWorkflow, queue: workflows.RecoverQueue}
	execution, err := audit.execution(ctx)
	if err != nil || execution == executionAbsent {
		return r, err
	}
	var said struct {
		State    string    `json:"state"`
		Began    time.Time `json:"began"`
		Finished time.Time `json:"finished"`
		Checked  int64     `json:"checked"`
		Missing  int64     `json:"missing"`
		Objects  int64     `json:"objects"`
		Skipped  string    `json:"skipped"` // why nothing was checked
		Error    string    `json:"lastError"`
	}
	if err := audit.query(ctx, &said); err != nil {
		return r, err
	}
	r = console.Residual{
		Audited: said.Checked > 0 || !said.Finished.IsZero() && said.Skipped == "", Records: said.Missing, Compared: said.Checked, At: said.Finished, Workflow: audit.id,
		Detail: fmt.Sprintf("%s, %d objects of the backup", said.State, said.Objects),
	}
	if why := cmp.Or(said.Skipped, said.Error); why != "" {
		r.Detail = inOneLine(why, longestDetail)
	}
	return r, nil
}

// checks makes those of the doctor's checks that need no right to write.
func (o *observed) checks(ctx context.Context) ([]console.Finding, error) {
	e := newExam(doctorCommand{CheckTimeout: o.within}, o.by, o.names, o.logger)
	e.Repository.Name, e.namespace = o.repository, o.namespace
	e.temporal.get = func(context.Context) (client.Client, error) { return o.client, nil }
	e.aws.get = func(ctx context.Context) (aws.Config, error) { return o.aws.load(ctx) }
	checks := e.pollerChecks()
	for _, c := range e.workflowChecks() {
		if c.name != "ProcessShard" && c.name != "BackupShard" { // the console shows each shard
			checks = append(checks, c)
		}
	}
	checks = append(checks, e.recordChecks()...)
	advice := len(checks)
	checks = append(checks, e.scheduleChecks()...)
	found := []console.Finding{}
	for i, f := range examine(ctx, o.within, checks, newWaiting(checks)) {
		level := map[string]console.Level{checkFails: console.Bad, checkWarns: console.Warn}[f.Status]
		if level == console.Warn && i >= advice {
			level = console.Note
		}
		if level != "" {
			found = append(found, console.Finding{Group: f.Group, Check: f.Check, Level: level, Detail: f.Detail, Do: f.Do})
		}
	}
	return found, nil
}
