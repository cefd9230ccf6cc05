package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/client"

	"millrace/workflows"
)

type drillCommands struct {
	Schedule drillSchedule `cmd:"" help:"Drill every week, or at another interval."`
	Run      drillRun      `cmd:"" help:"Drill now: restore everything into copies of the indices, compare them with the indices, and delete them."`
	Status   drillStatus   `cmd:"" help:"Show the progress of the drill, or the result of the last one."`
	Cancel   drillCancel   `cmd:"" help:"Cancel the drill, and delete its copies."`
}

// drillSettings are what each drill is done with.
type drillSettings struct {
	Indices    []string       `help:"Names or patterns of indices; default: all." placeholder:"telemetry-span-*"`
	NoSnapshot bool           `help:"Restore no snapshot; index everything from the backup."`
	Rate       float64        `help:"Records a second; 0: leave most of Elasticsearch's time to live traffic." default:"0"`
	Lanes      int            `help:"Pages of 1,000 objects in progress at once." default:"${lanes}"`
	BackupWait time.Duration  `help:"How long to wait for the backup before records that it lacks count as missing." default:"${backup_wait}"`
	Within     model.Duration `help:"How long the drill may take before it fails." default:"${drill_within}"`
}

func (s drillSettings) input() workflows.DrillInput {
	return workflows.DrillInput{
		Indices: s.Indices, NoSnapshot: s.NoSnapshot, Rate: s.Rate, Lanes: s.Lanes, BackupWait: s.BackupWait, Within: time.Duration(s.Within),
	}
}

// Validate reports what the workflow would refuse.
func (s drillSettings) Validate() error { return s.input().Validate() }

const drillSummary = "recovery drill"

type drillSchedule struct {
	drillSettings
	Every  model.Duration `help:"Interval of the schedule." default:"7d"`
	Remove bool           `help:"Remove the schedule."`
}

// leastDrillEvery leaves time between two drills.
const leastDrillEvery = model.Duration(time.Minute)

// Validate reports what cannot be meant.
func (s drillSchedule) Validate() error {
	if s.Every < leastDrillEvery {
		return fmt.Errorf("--every: %s is less than %s", s.Every, leastDrillEvery)
	}
	return s.drillSettings.Validate()
}

// Run makes, changes or removes the schedule.
func (s drillSchedule) Run(ctx context.Context, c client.Client, out output) error {
	schedule := recurring{client: c, id: workflows.DrillID, queue: workflows.RecoverQueue, stage: "drill", summary: drillSummary}
	if s.Remove {
		return schedule.remove(ctx, out)
	}
	return schedule.setAndSay(ctx, out, time.Duration(s.Every), workflows.DrillRecovery, s.input())
}

func drilling(c client.Client) endless {
	return endless{c, workflows.DrillID, workflows.RecoverQueue}
}

type drillRun struct {
	drillSettings
	Follow bool `help:"Wait until the drill ends." default:"true" negatable:""`
	format
}

// Run drills.
func (s drillRun) Run(ctx context.Context, c client.Client, out output) error {
	w := drilling(c)
	started, err := w.start(ctx, "drill", drillSummary, workflows.DrillRecovery, s.input())
	if err != nil {
		return err
	}
	if !started {
		return errors.New("a drill runs already: see `starter drill status`")
	}
	if !s.Follow {
		fmt.Fprintf(out, "%s: started\n", w.id)
		return nil
	}
	return concludeDrill(ctx, out, c, s.format)
}

// concludeDrill waits for the end of the last drill and says how it was; the
// error is that of one that has failed.
func concludeDrill(ctx context.Context, out output, c client.Client, f format) error {
	w := drilling(c)
	var result workflows.DrillResult
	err := c.GetWorkflow(ctx, w.id, "").Get(ctx, &result)
	if err != nil {
		return w.explainEnd(err)
	}
	return f.print(out, result, func() { writeDrill(out, result) })
}

func writeDrill(out output, r workflows.DrillResult) {
	if r.Ended.IsZero() {
		fmt.Fprintf(out, "%s, since %s: %d documents in %d indices are to come back\n", r.Stage, clock(r.Began), r.Live.Documents, r.Live.Indices)
		return
	}
	from := "the backup alone"
	if r.Snapshot != "" {
		from = "snapshot " + r.Snapshot + " and the backup"
	}
	fmt.Fprintf(out, "Everything came back: %d documents of %d indices, from %s, in %s. Its %d copies are removed.\n",
		r.Live.Documents, r.Live.Indices, from, r.Ended.Sub(r.Began).Round(time.Second), r.Removed)
	for _, warning := range r.Warnings {
		fmt.Fprintln(out, "warning: "+warning)
	}
}

// drillProgress is how far a drill is, and whose it is.
type drillProgress struct {
	workflows.DrillResult
	StartedBy string `json:"started_by"`
}

type drillStatus struct{ format }

// Run prints how far the drill is.
func (s drillStatus) Run(ctx context.Context, c client.Client, out output) error {
	w := drilling(c)
	execution, err := w.execution(ctx)
	if err != nil {
		return err
	}
	switch execution {
	case executionAbsent:
		fmt.Fprintf(out, "%s: there was none, see `starter drill run`\n", w.id)
		return nil
	case executionRunning:
		var result workflows.DrillResult
		if err := w.query(ctx, &result); err != nil {
			return err
		}
		by, err := startedBy(ctx, c, w.id)
		if err != nil {
			return err
		}
		return s.print(out, drillProgress{result, by}, func() {
			writeDrill(out, result)
			fmt.Fprintln(out, "Started by "+orDash(by)+".")
		})
	}
	return concludeDrill(ctx, out, c, s.format)
}

type drillCancel struct{ wait }

// Run cancels the drill.
func (s drillCancel) Run(ctx context.Context, c client.Client, out output) error {
	return drilling(c).stopAndSay(ctx, out, s.Wait)
}
