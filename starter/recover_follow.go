package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/recovery"
	"millrace/internal/control"
	"millrace/workflows"
	"millrace/workflows/launch"
)

const (
	// lookEvery is how often a progress bar is drawn, sayEvery how often a line
	// is printed where there is no terminal.
	lookEvery, sayEvery = time.Second, 10 * time.Second
	barWidth            = 30
)

// follow shows how far a recovery is until it ends. To stop following does not
// end it.
func (w endless) follow(ctx context.Context, out output, run client.WorkflowRun, f format) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = run.Get(ctx, nil) // conclude asks again
	}()
	terminal, said := isScreen(out), time.Time{}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for following := true; following; {
		select {
		case <-ended:
			following = false
		case <-ticker.C:
			progress, err := launch.Launcher{Client: w.client}.RecoverProgress(ctx, w.id)
			if err != nil || f.JSON { // it may be about to end, or wait for a worker
				continue
			}
			if terminal {
				out.(*screen).redraw(recoverLine(progress))
			} else if time.Since(said) >= sayEvery {
				said = time.Now()
				fmt.Fprintln(out, recoverLine(progress))
			}
		}
	}
	if ctx.Err() != nil {
		fmt.Fprintf(out, "\n%s goes on: `starter recover status`\n", w.id)
		return nil
	}
	if terminal {
		out.(*screen).redraw("")
	}
	return w.conclude(ctx, out, run, f)
}

// recoverLine draws a bar.
func recoverLine(p workflows.RecoverProgress) string {
	share := p.Share()
	full := int(share * barWidth)
	// Rounded down: 100 % means done.
	line := fmt.Sprintf("%-8s [%s%s] %3d %%", p.Stage, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), int(100*share))
	switch p.Stage {
	case workflows.StageRestore:
		line += fmt.Sprintf("  %d of %d shards", p.Restore.Done, p.Restore.Shards)
	case workflows.StageBackfill, workflows.StageVerify:
		line += fmt.Sprintf("  %d of %d objects, %d of about %d records, %.0f/s", p.ObjectsDone, p.Objects, p.RecordsDone, p.Records, p.Rate)
		if p.Remaining > 0 {
			line += ", " + (time.Duration(p.Remaining) * time.Second).String() + " left"
		}
	case workflows.StageAwait:
		line += "  for the backup to pass the window's end"
	}
	if p.State == control.StatePaused {
		line += "  paused by " + holds(p.Holds)
	}
	if p.LastError != "" {
		line += "  " + strings.ReplaceAll(p.LastError, "\n", " ")
	}
	return line
}

// recoveryStatus is how far a recovery is, and whose it is.
type recoveryStatus struct {
	workflows.RecoverProgress
	StartedBy string `json:"started_by"`
}

func (p recoveryStatus) write(out output) {
	fmt.Fprintln(out, recoverLine(p.RecoverProgress))
	table(out,
		[]string{"recovery", p.ID}, []string{"started by", orDash(p.StartedBy)}, []string{"state", p.State}, []string{"paused by", orDash(holds(p.Holds))},
		[]string{"shards", map[bool]string{true: "paused until the restore is done", false: "not paused by it"}[p.Held]},
		[]string{"rate", pacing(p.RecoverProgress)}, []string{"papers", orDash(p.Papers)}, []string{"last error", orDash(p.LastError)},
	)
}

func pacing(p workflows.RecoverProgress) string {
	if p.Limit > 0 || p.Pace.Share == 0 {
		return rateText(p.Limit)
	}
	return p.Pace.Text()
}

var errIncomplete = errors.New("not all is back: see what is missing above")

// conclude prints how it ended, and fails unless all is back.
func (w endless) conclude(ctx context.Context, out output, run client.WorkflowRun, f format) error {
	var result recovery.RecoverResult
	err := run.Get(ctx, &result)
	var canceled *temporal.CanceledError
	if errors.As(err, &canceled) && canceled.HasDetails() {
		_ = canceled.Details(&result) // it says more than that
	}
	if result.ID != "" {
		if printed := f.print(out, result, func() { writeResult(out, result) }); printed != nil {
			return printed
		}
	}
	var failed *temporal.ApplicationError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%s has failed: %s", w.id, failed.Message())
	case err != nil && canceled != nil:
		return fmt.Errorf("%s was canceled: %s", w.id, orDash(result.GoOn))
	case err != nil:
		return fmt.Errorf("%s: %w", w.id, err)
	case !result.Complete && (result.Verified || len(result.Missing) > 0):
		return errIncomplete
	}
	return nil
}

func writeResult(out output, r recovery.RecoverResult) {
	for _, line := range r.Plan.Lines() {
		fmt.Fprintln(out, line)
	}
	if r.Backfill.Objects == 0 && r.Plan.Pages > 0 && !r.Verified && r.Error == "" {
		fmt.Fprintln(out, "Nothing was changed: this is what would be done.")
		return
	}
	rows := [][]string{}
	for _, restored := range r.Restored {
		rows = append(rows, []string{"restored " + restored.Index, fmt.Sprintf("%d documents, the snapshot has %d", restored.Documents, restored.Wanted)})
	}
	if more := r.Indices - len(r.Restored); more > 0 {
		rows = append(rows, []string{"restored", fmt.Sprintf("%d indices more", more)})
	}
	rows = append(rows, []string{"backfilled", counts(r.Backfill)})
	if r.Verified {
		rows = append(rows, []string{"verified", counts(r.Verify)}, []string{"compared", r.Verify.Comparison()})
	}
	rows = append(rows, []string{"took", r.Ended.Sub(r.Began).Round(time.Second).String()}, []string{"papers", r.Papers})
	table(out, rows...)
	for _, gap := range r.Missing {
		fmt.Fprintf(out, "missing: %s\n", gapText(gap))
	}
	switch {
	case r.Error != "":
		fmt.Fprintf(out, "Not complete: %s. %s.\n", r.Error, r.GoOn)
	case r.Complete:
		fmt.Fprintln(out, "Complete: nothing is missing.")
	}
}

func counts(c recovery.SweepCounts) string {
	text := fmt.Sprintf("%d records of %d objects: %d indexed, %d were there, %d dead letters", c.Records, c.Objects, c.Indexed, c.Duplicates, c.Dead)
	if c.Put > 0 {
		text = fmt.Sprintf("%d records of %d objects: %d put into the stream, %d dead letters", c.Records, c.Objects, c.Put, c.Dead)
	}
	if c.Damaged > 0 {
		text += fmt.Sprintf("; %d objects are damaged", c.Damaged)
	}
	return text
}

func gapText(g recovery.Gap) string {
	records := "an unknown number of records"
	if g.Records >= 0 {
		records = fmt.Sprintf("%d records", g.Records)
	}
	text := records
	for _, part := range []struct{ name, value string }{{"of", g.Object}, {"shard", g.Shard}, {"at", g.Sequence}, {"document", g.ID}, {"in", g.Index}} {
		if part.value != "" {
			text += " " + part.name + " " + part.value
		}
	}
	return text + ": " + g.Reason
}
