package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"millrace/activities/recovery"
	"millrace/internal/control"
)

// RecoverProgress is what Recover and Replay answer to the query progress. Its
// figures are those of the calls that ended; launch.Launcher.RecoverProgress
// knows those of the present ones.
type RecoverProgress struct {
	ID    string `json:"id"`
	Stage string `json:"stage"`
	State string `json:"state"`
	// Of the stage.
	Objects     int64                    `json:"objects"`
	ObjectsDone int64                    `json:"objectsDone"`
	Records     int64                    `json:"records"` // estimated
	RecordsDone int64                    `json:"recordsDone"`
	Rate        float64                  `json:"rate"`                // records a second
	Remaining   float64                  `json:"remaining,omitempty"` // seconds
	Limit       float64                  `json:"limit,omitempty"`     // of the rate; see setRate
	Pace        recovery.YieldPolicy     `json:"pace,omitzero"`       // how far it gives way to live traffic while there is no limit
	Calls       int                      `json:"calls,omitempty"`     // of SweepObjects, that are under way
	Restore     recovery.RestoreProgress `json:"restore,omitzero"`
	Backfill    recovery.SweepCounts     `json:"backfill"`
	Verify      recovery.SweepCounts     `json:"verify,omitzero"`
	Held        bool                     `json:"held,omitempty"` // shards are paused
	Holds       []control.Hold           `json:"holds,omitempty"`
	Missing     int                      `json:"missing,omitempty"`
	Verified    bool                     `json:"verified,omitempty"`
	Papers      string                   `json:"papers,omitempty"`
	LastError   string                   `json:"lastError,omitempty"`
}

func (r *recovering) progress() RecoverProgress {
	p := RecoverProgress{
		ID: r.ID, Stage: r.Stage, State: r.state, Limit: r.in.Rate, Restore: r.Restore, Backfill: r.Backfill.Counts, Verify: r.Verify.Counts,
		Held: r.Held, Holds: r.Holds, Missing: len(r.missing()), Papers: r.Plan.Papers, LastError: r.problem,
		Verified: r.Verified,
	}
	list := &r.Backfill
	if r.Stage == StageVerify {
		list = &r.Verify
	}
	p.Objects, p.Records = r.Plan.Objects, r.Plan.Records
	p.ObjectsDone, p.RecordsDone, p.Pace = list.Counts.Objects, list.Counts.Records, list.Pace
	if r.sweep != nil {
		p.Calls = r.sweep.working
		if p.LastError == "" {
			p.LastError = r.sweep.lastError
		}
	}
	p.rate(list.Worked)
	return p
}

// rate is what was gone through in a time, and how long the rest may take.
func (p *RecoverProgress) rate(worked time.Duration) {
	p.Records = max(p.Records, p.RecordsDone)
	if worked <= 0 {
		return
	}
	p.Rate = float64(p.RecordsDone) / worked.Seconds()
	if p.Rate > 0 {
		p.Remaining = float64(p.Records-p.RecordsDone) / p.Rate
	}
}

// Share is how much of the stage is done, from 0 to 1.
func (p RecoverProgress) Share() float64 {
	switch {
	case p.Stage == StageDone:
		return 1
	case p.Stage == StageRestore && p.Restore.Bytes > 0:
		return float64(p.Restore.Copied) / float64(p.Restore.Bytes)
	case p.Stage != StageBackfill && p.Stage != StageVerify || p.Objects == 0:
		return 0
	}
	return min(1, max(float64(p.ObjectsDone)/float64(p.Objects), float64(p.RecordsDone)/max(1, float64(p.Records))*0.999))
}

// show brings up to date what operators see.
func (r *recovering) show(ctx workflow.Context) {
	state := control.StateRunning
	switch {
	case len(r.Holds) > 0:
		state = control.StatePaused
	case r.Stage == StageDone:
		state = control.StateDrained
	}
	setState(ctx, &r.state, state)
	workflow.SetCurrentDetails(ctx, r.progress().Markdown()+r.Plan.Markdown())
}

// outcome says how it ended, as far as that is known from here.
func (p RecoverProgress) outcome() string {
	switch {
	case p.Missing > 0 || p.Verify.Missing > 0:
		return "not complete: see what is missing in the result"
	case p.Verified:
		return "complete: nothing is missing"
	}
	return "done"
}

// Markdown shows the progress in the Temporal UI.
func (p RecoverProgress) Markdown() string {
	var t table
	if p.Stage == StageDone {
		t.row("Ended", p.outcome())
	} else {
		t.row("Stage", p.Stage+", "+p.State)
	}
	for _, hold := range p.Holds {
		t.row("Paused by", describe(hold))
	}
	if p.Held {
		t.row("Shards", "paused until the restore is done")
	}
	if restored, documents := p.Restore.Total(); restored > 0 {
		t.row("Restored", fmt.Sprintf("%d indices with %d documents", restored, documents))
	} else if p.Restore.Shards > 0 {
		t.row("Restored", fmt.Sprintf("%d of %d shards, %d of %d bytes", p.Restore.Done, p.Restore.Shards, p.Restore.Copied, p.Restore.Bytes))
	}
	if p.Stage != StageDone {
		t.row("Objects", fmt.Sprintf("%d of %d", p.ObjectsDone, p.Objects))
		t.row("Records", fmt.Sprintf("%d of about %d, %.0f a second", p.RecordsDone, p.Records, p.Rate))
	}
	switch {
	case p.Stage != StageBackfill && p.Stage != StageVerify:
	case p.Limit > 0:
		t.row("Pace", fmt.Sprintf("%.0f records a second at the most", p.Limit))
	case p.Pace.Share > 0:
		t.row("Pace", p.Pace.Text())
	}
	if c := p.Backfill; c.Records > 0 {
		done := fmt.Sprintf("%d indexed, %d were there", c.Indexed, c.Duplicates)
		if c.Put > 0 {
			done = fmt.Sprintf("%d put into the stream", c.Put)
		}
		t.row("Backfill", fmt.Sprintf("%d records: %s, %d dead letters; %d objects are damaged", c.Records, done, c.Dead, c.Damaged))
	}
	if c := p.Verify; c.Records > 0 {
		t.row("Verify", fmt.Sprintf("%d records: %d were there, %d had to be indexed again, %d dead letters, %d missing", c.Records, c.Duplicates, c.Indexed, c.Dead, c.Missing))
		t.row("Compared", c.Comparison())
	}
	t.row("Papers", p.Papers)
	t.row("Last error", p.LastError)
	return "### Recovery " + p.ID + "\n\n" + t.String() + "\n"
}
