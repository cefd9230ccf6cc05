package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/audit"
	"millrace/workflows"
	"millrace/workflows/launch"
)

type auditCommands struct {
	Schedule auditSchedule `cmd:"" help:"Audit a sample every ten minutes, or at another interval."`
	Run      auditRun      `cmd:"" help:"Audit now: look for records of the backup in index, ledger and open batches."`
	Status   auditStatus   `cmd:"" help:"Show the progress of the audit, or the result of the last one."`
	Cancel   auditCancel   `cmd:"" help:"Cancel the audit."`
}

// auditSettings are what an audit is done with.
type auditSettings struct {
	Share   float64        `help:"Share of the objects to check, from 0 to 1; at least one object of each shard is. Default: 0.01, or 1 with --all." placeholder:"0.01"`
	All     bool           `help:"Check every object, without the limits below unless they are given."`
	Within  model.Duration `help:"Check objects of records that arrived within this time before the start." default:"1h"`
	Grace   model.Duration `help:"Leave out records that arrived within this time before the start, and look for missing ones again after it." default:"2m"`
	Objects int64          `help:"Objects of a run at the most; 0: 200." default:"0"`
	Bytes   int64          `help:"Compressed bytes of a run, after which it reads no other object; 0: 1 GiB." default:"0"`
	Records int64          `help:"Records of a run, after which it reads no other object; 0: 1,000,000." default:"0"`
	Rate    float64        `help:"Records a second to look up; 0: 5,000." default:"0"`
}

func (s auditSettings) input() workflows.AuditInput {
	return workflows.AuditInput{Request: audit.Request{
		Share: s.Share, All: s.All, Within: s.Within, Grace: s.Grace, Objects: s.Objects, Bytes: s.Bytes, Records: s.Records, Rate: s.Rate,
	}}
}

// Validate reports what the workflow would refuse.
func (s auditSettings) Validate() error { return s.input().Validate() }

const auditSummary = "audit of the backup"

type auditSchedule struct {
	auditSettings
	Every  model.Duration `help:"Interval of the schedule." default:"10m"`
	Remove bool           `help:"Remove the schedule."`
}

// leastAuditEvery leaves time between two audits.
const leastAuditEvery = model.Duration(time.Minute)

// Validate reports what cannot be meant.
func (s auditSchedule) Validate() error {
	if s.Every < leastAuditEvery {
		return fmt.Errorf("--every: %s is less than %s", s.Every, leastAuditEvery)
	}
	return s.auditSettings.Validate()
}

// Run makes, changes or removes the schedule.
func (s auditSchedule) Run(ctx context.Context, c client.Client, out output) error {
	schedule := recurring{client: c, id: workflows.AuditID, queue: workflows.RecoverQueue, stage: workflows.AuditStage, summary: auditSummary}
	if s.Remove {
		return schedule.remove(ctx, out)
	}
	return schedule.setAndSay(ctx, out, time.Duration(s.Every), workflows.AuditBackup, s.input())
}

func auditing(c client.Client) endless {
	return endless{c, workflows.AuditID, workflows.RecoverQueue}
}

type auditRun struct {
	auditSettings
	Since  time.Time `help:"Check objects from this hour on, instead of --within." format:"2006-01-02T15:04:05Z07:00" placeholder:"2026-11-23T13:00:00Z"`
	Follow bool      `help:"Wait until the audit ends." default:"true" negatable:""`
	format
}

// Run audits.
func (s auditRun) Run(ctx context.Context, c client.Client, out output) error {
	w, in := auditing(c), s.input()
	in.Since = s.Since
	started, err := w.start(ctx, workflows.AuditStage, auditSummary, workflows.AuditBackup, in)
	if err != nil {
		return err
	}
	if !started {
		return errors.New("an audit runs already: see `starter audit status`")
	}
	if !s.Follow {
		fmt.Fprintf(out, "%s: started\n", w.id)
		return nil
	}
	return concludeAudit(ctx, out, c, s.format)
}

// concludeAudit waits for the end of the last audit and says how it was; records that are
// missing are an error.
func concludeAudit(ctx context.Context, out output, c client.Client, f format) error {
	w := auditing(c)
	var result workflows.AuditStatus
	err := c.GetWorkflow(ctx, w.id, "").Get(ctx, &result)
	var failed *temporal.ApplicationError
	switch {
	case errors.As(err, &failed) && failed.Type() == workflows.RecordsMissing && failed.Details(&result) == nil:
		if err := f.print(out, result, func() { writeAudit(out, result) }); err != nil {
			return err
		}
		return fmt.Errorf("%s: %d records", failed.Type(), result.Missing)
	case err != nil:
		return w.explainEnd(err)
	}
	return f.print(out, result, func() { writeAudit(out, result) })
}

func writeAudit(out output, s workflows.AuditStatus) {
	if s.Skipped != "" {
		fmt.Fprintf(out, "skipped at %s: %s\n", clock(s.Began), s.Skipped)
		return
	}
	fmt.Fprintf(out, "%s: %d records of %d objects since %s checked: %d indexed, %d in the ledger, %d held by a batch, %d missing\n",
		s.State, s.Checked, s.Objects, clock(s.Since), s.Indexed, s.Dead, s.Held, s.Missing)
	for _, one := range s.Examples {
		fmt.Fprintln(out, "missing: "+one.String())
	}
	if s.Left > 0 {
		fmt.Fprintf(out, "%d objects of the sample were not checked, because of a limit\n", s.Left)
	}
	if s.Unknown > 0 {
		fmt.Fprintf(out, "%d objects were not checked, since the checkpoint of their shard is not known\n", s.Unknown)
	}
	if s.Damaged > 0 {
		fmt.Fprintf(out, "%d objects are damaged, and were checked only in part\n", s.Damaged)
	}
	for _, hold := range s.Holds {
		fmt.Fprintln(out, "paused by "+hold.By+" ("+hold.Reason+")")
	}
	if s.LastError != "" {
		fmt.Fprintln(out, "it waits: "+s.LastError)
	}
}

type auditStatus struct{ format }

// Run prints how far the audit is.
func (s auditStatus) Run(ctx context.Context, c client.Client, out output) error {
	w := auditing(c)
	execution, err := w.execution(ctx)
	if err != nil {
		return err
	}
	switch execution {
	case executionAbsent:
		fmt.Fprintf(out, "%s: there was none, see `starter audit run`\n", w.id)
		return nil
	case executionRunning:
		status, err := launch.Launcher{Client: c}.AuditStatus(ctx)
		if err != nil {
			return advise(err, w.queue)
		}
		return s.print(out, status, func() { writeAudit(out, status) })
	}
	return concludeAudit(ctx, out, c, s.format)
}

type auditCancel struct{ wait }

// Run cancels the audit.
func (s auditCancel) Run(ctx context.Context, c client.Client, out output) error {
	return auditing(c).stopAndSay(ctx, out, s.Wait)
}
