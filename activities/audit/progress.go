package audit

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// guarded is a Progress that heartbeats read while the call changes it.
type guarded struct {
	mu       sync.Mutex
	progress Progress
}

func (g *guarded) change(by func(*Progress)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	by(&g.progress)
}

func (g *guarded) count(c Counts) {
	g.change(func(p *Progress) { p.Counts.Add(c) })
}

func (g *guarded) get() Progress {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.progress
	p.Examples = slices.Clone(p.Examples)
	return p
}

// report enters a call that has ended in metrics and log.
func (p Progress) report(ctx context.Context) {
	auditedRecords.Add(float64(p.Counts.Checked))
	residualRecords.Add(float64(p.Counts.Missing))
	if p.Done && p.Skipped == "" {
		lastAudit.WithLabelValues().Set(float64(time.Now().Unix()))
	}
	slog.InfoContext(ctx, "audited objects of the backup", "objects", p.Counts.Objects, "checked", p.Counts.Checked,
		"missing", p.Counts.Missing, "unknown", p.Counts.Unknown, "skipped", p.Skipped)
}
