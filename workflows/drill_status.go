package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"millrace/internal/control"
)

// lacking says what did not come back.
func (r DrillResult) lacking() string {
	text := "the drill did not bring everything back"
	if r.Fewer.Indices > 0 {
		text += fmt.Sprintf(": %d indices lack %d documents", r.Fewer.Indices, r.Fewer.Documents)
		for _, gap := range r.Fewer.Gaps[:min(len(r.Fewer.Gaps), mostNamed)] {
			text += "; " + gap.Index + ": " + gap.Reason
		}
	}
	for _, gap := range r.Missing[:min(len(r.Missing), mostNamed)] {
		text += "; " + gap.Object + gap.Index + gap.Shard + ": " + gap.Reason
	}
	if r.Papers != "" {
		text += ". All that is known is in the bucket, in " + r.Papers
	}
	return text
}

// show brings up to date what operators see.
func (d *drill) show(ctx workflow.Context, stage string) {
	d.Stage = stage
	setState(ctx, &d.State, control.StateRunning)
	workflow.SetCurrentDetails(ctx, d.Markdown())
}

// finish shows the end.
func (d *drill) finish(ctx workflow.Context, state string) {
	d.Stage = StageDone
	setState(ctx, &d.State, state)
	workflow.SetCurrentDetails(ctx, d.Markdown())
}

// Markdown shows the result in the Temporal UI.
func (r DrillResult) Markdown() string {
	var t table
	t.row("State", r.State+", "+r.Stage)
	t.row("Live", fmt.Sprintf("%d documents in %d indices", r.Live.Documents, r.Live.Indices))
	if r.Live.Uncounted > 0 {
		t.row("Not counted", fmt.Sprintf("%d indices, which are closed or red", r.Live.Uncounted))
	}
	if r.Stage == drillRunning {
		t.row("Recovery", "see workflow `"+RecoverID+"`")
	}
	t.row("Snapshot", r.Snapshot)
	if c := r.Backfill; c.Objects > 0 {
		t.row("Brought back", fmt.Sprintf("%d indices restored, %d records of %d objects indexed", r.Restored, c.Indexed, c.Objects))
		t.row("Compared", fmt.Sprintf("%d records: %d were there, %d had to be indexed again, %d missing", r.Verify.Records, r.Verify.Duplicates, r.Verify.Indexed, r.Verify.Missing))
	}
	for _, warning := range r.Warnings {
		t.row("Warning", warning)
	}
	t.row("Copies", fmt.Sprintf("…-%s, %d removed", r.Suffix, r.Removed))
	t.row("Papers", r.Papers)
	if !r.Ended.IsZero() {
		t.row("Took", r.Ended.Sub(r.Began).Round(time.Second).String())
	}
	t.row("Error", r.Error)
	return "### Recovery drill of " + r.Began.UTC().Format(time.RFC3339) + "\n\n" + t.String()
}
