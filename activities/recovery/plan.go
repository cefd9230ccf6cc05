package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"strings"
	"time"

	"millrace/internal/backup"
	"millrace/internal/snapshot"
)

// How a recovery brings records back.
const (
	ModeDirect = "direct" // it writes them into the index
	ModeIngest = "ingest" // it puts them into the stream, past the caches and circuits of their shards
)

// RecoverRequest says what is to be recovered, or replayed. Every field is
// optional.
type RecoverRequest struct {
	// Snapshot is the name of the one to restore; empty: the last good one.
	Snapshot string `json:"snapshot,omitempty"`
	// Before chooses the last good snapshot that was begun before that time.
	Before time.Time `json:"before,omitzero"`
	// NoSnapshot restores none: everything comes from the backup.
	NoSnapshot bool `json:"noSnapshot,omitempty"`
	// Indices are names or patterns of what is restored and backfilled; empty:
	// all telemetry.
	Indices []string `json:"indices,omitempty"`
	// Replace also replaces indices that are healthy and older than the
	// snapshot. What is in them and neither in snapshot nor backup is lost.
	Replace bool `json:"replace,omitempty"`
	// Into is put behind the name of each index, so that nothing that is there
	// is touched.
	Into string `json:"into,omitempty"`
	// From and To bound the backfill by arrival in the stream, in place of what
	// the snapshot says. With them, or a tenant, goes noSnapshot or into.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Tenant is the only one whose records are backfilled.
	Tenant string `json:"tenant,omitempty"`
	// Inventory is the key of a manifest.json of S3 Inventory, as key in the
	// bucket of the backup, or s3://bucket/key.
	Inventory string `json:"inventory,omitempty"`
	// Mode is direct, into the index, or ingest: through the stream, where the
	// shards index what is not there. direct when empty.
	Mode string `json:"mode,omitempty"`
}

var suffixRule = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,63}$`)

// Validate reports what cannot be meant.
func (r RecoverRequest) Validate() error {
	var errs []error
	given := 0
	for _, is := range []bool{r.Snapshot != "", !r.Before.IsZero(), r.NoSnapshot} {
		if is {
			given++
		}
	}
	if given > 1 {
		errs = append(errs, errors.New("snapshot, before, noSnapshot: give one of them at the most"))
	}
	for _, pattern := range r.Indices {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" || strings.ContainsAny(pattern, ",/ ") {
			errs = append(errs, fmt.Errorf("indices: %q is neither a name nor a pattern such as telemetry-span-*", pattern))
		}
	}
	if r.Into != "" && !suffixRule.MatchString(r.Into) {
		errs = append(errs, fmt.Errorf("into: %q: a suffix has lower-case letters, digits, '-', '.' and '_', 64 at the most", r.Into))
	}
	if r.Into != "" && r.Replace {
		errs = append(errs, errors.New("into, replace: into a suffix nothing is replaced: give one of them"))
	}
	if r.Mode != "" && r.Mode != ModeDirect && r.Mode != ModeIngest {
		errs = append(errs, fmt.Errorf("mode: %q: give %s or %s", r.Mode, ModeDirect, ModeIngest))
	}
	if r.Into != "" && r.Mode == ModeIngest {
		errs = append(errs, fmt.Errorf("into, mode: what goes through the stream goes where it was: into a suffix goes mode %s alone", ModeDirect))
	}
	if !r.From.IsZero() && !r.To.IsZero() && !r.From.Before(r.To) {
		errs = append(errs, fmt.Errorf("from, to: %s is not before %s", r.From.Format(time.RFC3339), r.To.Format(time.RFC3339)))
	}
	return errors.Join(errs...)
}

// ValidateRestore reports what cannot be meant where indices are restored to
// their names: what came after the snapshot is deleted with them, of all tenants
// and times. The plan refuses it, and not the workflow, which may have begun
// before there was this rule.
func (r RecoverRequest) ValidateRestore() error {
	if r.NoSnapshot || r.Into != "" || r.Tenant == "" && r.From.IsZero() && r.To.IsZero() {
		return nil
	}
	return errors.New("from, to, tenant: whole indices are restored, and only a part of what came after the snapshot would be brought back: " +
		"give noSnapshot to backfill that part into the indices as they are, or into to restore beside them")
}

// Suffix is what is put behind the names of indices.
func (r RecoverRequest) suffix() string {
	if r.Into == "" {
		return ""
	}
	return "-" + r.Into
}

// Plan is what a recovery is going to do. It is written into the bucket before
// it begins, and does not change.
type Plan struct {
	ID      string    `json:"id"`
	Made    time.Time `json:"made"`
	Papers  string    `json:"papers"` // prefix in the bucket of plan, list, report and result
	Replay  bool      `json:"replay,omitempty"`
	Indices []string  `json:"indices,omitempty"`
	Suffix  string    `json:"suffix,omitempty"`
	Tenant  string    `json:"tenant,omitempty"`
	Prefix  string    `json:"prefix"` // of the backup
	Mode    string    `json:"mode,omitempty"`
	// Normal is how long live records took before, in seconds: the 99th
	// percentile; zero: there were none.
	Normal float64 `json:"normalSeconds,omitempty"`

	Snapshot   string            `json:"snapshot,omitempty"`
	Repository string            `json:"repository,omitempty"`
	Began      time.Time         `json:"began,omitzero"` // the snapshot
	Restore    []IndexPlan       `json:"restore,omitempty"`
	Keep       map[string]string `json:"keep,omitempty"` // indices of the snapshot that stay, and why
	// Fewer are indices that stay, and have fewer documents than the snapshot.
	Fewer []Restored `json:"fewer,omitempty"`

	Window backup.Window `json:"window"`
	// More are windows of earlier recoveries and replays, whose documents came
	// after the snapshot.
	More []string `json:"more,omitempty"`

	Objects int64 `json:"objects"`
	Entries int64 `json:"entries,omitempty"` // of the ledger, among the objects
	Foreign int64 `json:"foreign,omitempty"` // Firehose's objects of the window
	Bytes   int64 `json:"bytes"`
	Records int64 `json:"records"` // estimated
	Pages   int   `json:"pages"`
	// Rate is the one that is given, or assumed, in records a second, and
	// Seconds how long the backfill takes with it.
	Rate     float64  `json:"rate,omitempty"`
	Seconds  float64  `json:"seconds,omitempty"` // estimated
	Warnings []string `json:"warnings,omitempty"`
	// Broken is what the backup of a replay lacks, as far as its list says: a
	// recovery looks for that when it verifies.
	Broken []Gap `json:"broken,omitempty"`
	// Counts are how long the lists are in the bucket, where a workflow's copy has
	// the first of each.
	Counts PlanCounts `json:"counts,omitzero"`
}

// IndexPlan is an index that is restored.
type IndexPlan struct {
	Name      string `json:"name"`
	Why       string `json:"why"`
	Documents int64  `json:"documents"` // that the snapshot has at the least
	// Created is when the index of the snapshot was made, which restoring keeps.
	Created time.Time `json:"created"`
	Delete  bool      `json:"delete,omitempty"`
	UUID    string    `json:"uuid,omitempty"` // of the index that is to be deleted
	// Trimmed is how many documents retention had deleted of it by then, in all.
	Trimmed int64 `json:"trimmed,omitempty"`
}

func readPlan(ctx context.Context, bucket Bucket, papers string) (plan Plan, err error) {
	text, err := bucket.Get(ctx, papers+planFile)
	if err == nil {
		err = json.Unmarshal(text, &plan)
	}
	if err != nil {
		return plan, fmt.Errorf("read the plan of the recovery: %w", err)
	}
	return plan, nil
}

// Names of papers.
const (
	planFile   = "plan.json"
	resultFile = "result.json"
)

// choose finds the snapshot to restore. found is false where none is wanted, or
// there is none.
func choose(ctx context.Context, catalog Catalog, r RecoverRequest) (record snapshot.Record, found bool, err error) {
	switch {
	case r.NoSnapshot:
		return record, false, nil
	case r.Snapshot != "":
		if record, err = catalog.Get(ctx, r.Snapshot); err != nil {
			return record, false, err
		}
		if record.State != snapshot.Success {
			return record, false, invalid("snapshot %s is not to be restored, its state is %s: see `starter snapshot list` for those that are",
				record.Name, strings.TrimSuffix(record.State+", "+record.Reason, ", "))
		}
		return record, true, nil
	}
	record, err = catalog.LastGood(ctx, r.Before)
	if errors.Is(err, snapshot.ErrNone) && r.Before.IsZero() {
		return record, false, nil
	}
	return record, err == nil, err
}

// Catalog has the records of snapshots. See snapshot.Catalog.
type Catalog interface {
	Get(ctx context.Context, name string) (snapshot.Record, error)
	LastGood(ctx context.Context, before time.Time) (snapshot.Record, error)
}

// papersRoot is where in the bucket each recovery and replay has its papers.
const papersRoot = "recovery/"

// Papers is where the papers of a recovery are.
func Papers(id string) string { return papersRoot + id + "/" }

// Markdown shows the plan in the Temporal UI.
func (p Plan) Markdown() string {
	if p.ID == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString("#### Plan\n\n")
	for _, line := range p.Lines() {
		b.WriteString("- " + line + "\n")
	}
	return b.String()
}

// mostNamed bounds the indices that the text of a plan names.
const mostNamed = 20

// Lines are the plan in words.
func (p Plan) Lines() (lines []string) {
	if p.Snapshot != "" {
		lines = append(lines, fmt.Sprintf("snapshot %s of %s", p.Snapshot, p.Began.UTC().Format(time.RFC3339)))
	}
	number := p.counted()
	for i, one := range p.Restore {
		if i == mostNamed {
			lines = append(lines, fmt.Sprintf("and %d indices more", number.Restore-mostNamed))
			break
		}
		lines = append(lines, fmt.Sprintf("restore %s%s, %d documents: %s", one.Name, p.Suffix, one.Documents, one.Why))
	}
	if len(p.Keep) > 0 {
		lines = append(lines, fmt.Sprintf("keep %d indices of the snapshot", number.Keep))
	}
	from := "the beginning of the backup"
	if !p.Window.From.IsZero() {
		from = p.Window.From.UTC().Format(time.RFC3339)
	}
	way := ""
	if p.Mode == ModeIngest {
		way = ", through the stream"
	}
	lines = append(lines, fmt.Sprintf("backfill from %s to %s: %d objects, %d bytes, about %d records%s", from,
		p.Window.To.UTC().Format(time.RFC3339), p.Objects, p.Bytes, p.Records, way))
	if p.Rate > 0 {
		again := ", and about as long again to verify"
		if p.Replay {
			again = ""
		}
		lines = append(lines, fmt.Sprintf("estimated time: %s for the backfill, at %.0f records a second%s",
			(time.Duration(math.Ceil(p.Seconds))*time.Second).String(), p.Rate, again))
	}
	for _, warning := range p.Warnings {
		lines = append(lines, "warning: "+warning)
	}
	return lines
}
