package recovery

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"go.temporal.io/sdk/activity"

	"millrace/internal/index"
	"millrace/internal/longcall"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// DrillCall says which drill an activity is about.
type DrillCall struct {
	// Suffix is that of its copies, which is its name, too: see DrillSuffix.
	Suffix  string    `json:"suffix"`
	Began   time.Time `json:"began"`
	Indices []string  `json:"indices,omitempty"` // patterns; empty: all telemetry
}

// DrillSuffix is what a drill that begins at a time puts behind the names of
// indices.
func DrillSuffix(at time.Time) string { return at.UTC().Format("drill-20060102t150405") }

// drillCopy is the name of an index that a drill has made.
var drillCopy = regexp.MustCompile(`^` + telemetry.IndexPrefix + `.+-drill-\d{8}t\d{6}$`)

// DrillBegun is what a drill has to bring back.
type DrillBegun struct {
	Indices   int   `json:"indices"`
	Documents int64 `json:"documents"`
	// Uncounted are indices that are closed or red, which nothing is held
	// against.
	Uncounted int `json:"uncounted,omitempty"`
	// Removed are copies that a drill had left behind which was terminated.
	Removed int `json:"removed,omitempty"`
}

// drillPaper has the documents of each index when a drill began.
const drillPaper = "drill.json"

// BeginDrill removes what earlier drills have left, and counts the documents of
// each index: the copies must have as many. There is one drill at a time.
func (r *Recoverer) BeginDrill(ctx context.Context, in DrillCall) (DrillBegun, error) {
	defer longcall.Heartbeat(ctx, func() any { return in.Suffix })()
	var begun DrillBegun
	states, err := r.drilled(ctx)
	if err != nil {
		return begun, err
	}
	documents := map[string]int64{}
	for _, name := range index.Names(states) {
		state := states[name]
		if drillCopy.MatchString(name) {
			slog.Warn("removing what a drill has left behind", "index", name)
			if err := r.Cluster.DeleteIndex(ctx, name); err != nil {
				return begun, err
			}
			begun.Removed++
			continue
		}
		if _, ours := telemetry.ParseIndex(name); !ours || !matches(in.Indices, name) {
			continue // a copy, or not selected
		}
		if state.Documents < 0 {
			begun.Uncounted++
			continue
		}
		documents[name] = state.Documents
		begun.Documents += state.Documents
	}
	begun.Indices = len(documents)
	return begun, r.writePaper(ctx, Papers(in.Suffix)+drillPaper, documents)
}

// drilled describes all indices of telemetry, and of copies of it.
func (r *Recoverer) drilled(ctx context.Context) (map[string]index.State, error) {
	if err := r.Cluster.Refresh(ctx, telemetry.IndexPrefix+"*"); err != nil {
		return nil, err
	}
	return r.Cluster.Indices(ctx, telemetry.IndexPrefix+"*")
}

// DrillMissing is what a drill did not bring back.
type DrillMissing struct {
	Indices   int   `json:"indices"`
	Documents int64 `json:"documents"`
	Gaps      []Gap `json:"gaps,omitempty"` // the first of them
}

// CompareDrill counts the documents of the copies, and says which of them have
// fewer than there were in the index when the drill began. That is not what a
// recovery verifies: it holds the index against the backup, and so does not see
// what both of snapshot and backup lack.
func (r *Recoverer) CompareDrill(ctx context.Context, in DrillCall) (missing DrillMissing, err error) {
	defer longcall.Heartbeat(ctx, func() any { return in.Suffix })()
	text, err := r.Bucket.Get(ctx, Papers(in.Suffix)+drillPaper)
	if err != nil {
		return missing, fmt.Errorf("read what the drill counted: %w", err)
	}
	var documents map[string]int64
	if err := json.Unmarshal(text, &documents); err != nil {
		return missing, fmt.Errorf("read what the drill counted: %w", err)
	}
	states, err := r.drilled(ctx)
	if err != nil {
		return missing, err
	}
	for _, name := range index.Names(documents) {
		copied, there := states[name+"-"+in.Suffix]
		want := documents[name]
		if there && copied.Documents >= want || want == 0 {
			continue
		}
		retired, is, err := snapshot.RetiredIndex(ctx, r.Bucket, name)
		if err != nil {
			return missing, err
		}
		if is && retired.At.After(in.Began) {
			continue // retention has deleted it meanwhile
		}
		gap := Gap{Index: name, Records: want - max(copied.Documents, 0), Reason: fmt.Sprintf("the index has %d documents, its copy %d", want, copied.Documents)}
		if !there {
			gap.Reason = fmt.Sprintf("the index has %d documents, and neither snapshot nor backup brought back any", want)
		}
		missing.Indices++
		missing.Documents += gap.Records
		if len(missing.Gaps) < mostGaps {
			missing.Gaps = append(missing.Gaps, gap)
		}
		if activity.IsActivity(ctx) {
			activity.RecordHeartbeat(ctx, name)
		}
	}
	return missing, nil
}

// Ends of a drill.
const (
	DrillComplete   = "complete"
	DrillIncomplete = "incomplete" // something is missing
	DrillFailed     = "failed"     // it could not be done
)

// DrillEnd is how a drill has ended.
type DrillEnd struct {
	DrillCall
	End string `json:"end"`
}

// EndDrill removes the copies of a drill, however it went, and tells the
// metrics.
func (r *Recoverer) EndDrill(ctx context.Context, in DrillEnd) (removed int, err error) {
	defer longcall.Heartbeat(ctx, func() any { return in.Suffix })()
	states, err := r.Cluster.Indices(ctx, telemetry.IndexPrefix+"*-"+in.Suffix)
	if err != nil {
		return 0, err
	}
	for _, name := range index.Names(states) {
		if !drillCopy.MatchString(name) {
			continue
		}
		if err := r.Cluster.DeleteIndex(ctx, name); err != nil {
			return removed, err
		}
		removed++
	}
	drills.WithLabelValues(in.End).Inc()
	if in.End == DrillComplete {
		lastDrill.WithLabelValues().Set(float64(in.Began.Unix()))
	}
	slog.InfoContext(ctx, "a recovery drill has ended", "drill", in.Suffix, "end", in.End, "copies", removed)
	return removed, nil
}
