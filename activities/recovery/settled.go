package recovery

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// keepSettled holds the indices that a plan keeps against what was settled of them
// at the snapshot.
func (r *Recoverer) keepSettled(ctx context.Context, kept []string, record snapshot.Record, plan *Plan) error {
	var asked []index.Sent
	for _, name := range kept {
		if of := record.Indices[name]; of.Settled != nil {
			asked = append(asked, index.Sent{Index: name, Before: of.Settled.Before})
		}
	}
	counts, err := r.Cluster.CountSent(ctx, asked)
	if err != nil {
		return err
	}
	unknown := len(kept) - len(asked)
	for i, one := range asked {
		gone, err := snapshot.GoneOf(ctx, r.Bucket, one.Index)
		if err != nil {
			return err
		}
		wanted := record.Indices[one.Index].Settled.Wants(gone.Trimmed)
		if counts[i] < 0 {
			unknown++
		} else if counts[i] < wanted {
			plan.fewer(Restored{Index: one.Index, Documents: counts[i], Wanted: wanted}, "of those that were sent before "+one.Before.Format(time.RFC3339))
		}
	}
	if more := len(plan.Fewer) - mostNamed; more > 0 {
		plan.Warnings = append(plan.Warnings, fmt.Sprintf("%d indices more stay, although they have fewer documents than the snapshot", more))
	}
	if unknown > 0 {
		plan.Warnings = append(plan.Warnings, fmt.Sprintf("%d indices stay that are held against the snapshot by the number of all their documents alone: "+
			"one that lost some and got as many new ones passes for whole (replace would replace it)", unknown))
	}
	return nil
}

// fewer enters an index that stays and has fewer documents than the snapshot.
func (p *Plan) fewer(one Restored, which string) {
	p.Fewer = append(p.Fewer, one)
	if len(p.Fewer) > mostNamed {
		return
	}
	text := fmt.Sprintf("%s stays, although it has %d documents, and the snapshot %d", one.Index, one.Documents, one.Wanted)
	if which != "" {
		text += ", " + which
	}
	p.Warnings = append(p.Warnings, text+": replace would replace it")
}

// rebase counts what is settled after a complete recovery, of the indices that it
// was about: it has sent documents anew that were sent before.
func (r *Recoverer) rebase(ctx context.Context, plan Plan) error {
	all, err := snapshot.ReadBasis(ctx, r.Bucket)
	if err != nil {
		return err
	}
	trimmed, err := snapshot.ListTrimmed(ctx, r.Bucket)
	if err != nil {
		return err
	}
	if err := r.Cluster.Refresh(ctx, telemetry.IndexPrefix+"*"); err != nil {
		return err
	}
	states, err := r.Cluster.Indices(ctx, telemetry.IndexPrefix+"*")
	if err != nil {
		return err
	}
	by := snapshot.SettledBy(r.Cluster.LongestBulk())
	var asked []index.Sent
	for _, name := range index.Names(states) {
		if _, ours := telemetry.ParseIndex(name); ours && matches(plan.Indices, name) {
			asked = append(asked, index.Sent{Index: name, Before: by})
		}
	}
	counts, err := r.Cluster.CountSent(ctx, asked)
	if err != nil {
		return err
	}
	for name := range all {
		if _, there := states[name]; !there {
			delete(all, name)
		}
	}
	for i, one := range asked {
		if counts[i] >= 0 {
			all[one.Index] = snapshot.Based{
				Settled: snapshot.Settled{Before: by, Documents: counts[i], Trimmed: trimmed[one.Index]}, Created: states[one.Index].Created,
			}
		}
	}
	slog.InfoContext(ctx, "counted what later snapshots are held against", "id", plan.ID, "indices", len(asked))
	return all.Write(ctx, r.Bucket)
}
