package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

type dlqCommands struct {
	List dlqList `cmd:"" help:"List dead letters, grouped by error."`
	Show dlqShow `cmd:"" help:"Show one entry of the ledger: its records and their errors."`

	Reprocess reprocessStart  `cmd:"" help:"Index dead letters again, through the stream or directly, once the cause is fixed."`
	Status    reprocessStatus `cmd:"" help:"Show the progress of the reprocessing."`
	Pause     reprocessPause  `cmd:"" help:"Pause the reprocessing."`
	Resume    reprocessResume `cmd:"" help:"Resume the reprocessing."`
	Cancel    reprocessCancel `cmd:"" help:"Cancel the reprocessing. What is not done stays in the ledger."`
}

// openLedger finds the ledger of the stream.
func openLedger(ctx context.Context, r *config.Resources) (*ledger.Ledger, error) {
	cfg, err := config.AWS(ctx)
	if err != nil {
		return nil, err
	}
	return ledger.New(archive.Open(config.S3(cfg), r.Bucket), r.Stream), nil
}

// selection says which records are meant.
type selection struct {
	Error     string `help:"Only errors whose type or reason contains this text."`
	ErrorType string `help:"Only errors of this type, such as document_parsing_exception."`
	Type      string `help:"Only records of this type, such as span."`
	Tenant    string `help:"Only records of this tenant."`
	Shard     string `help:"Only of this shard: its whole id, or ingest for records that never reached the stream."`
	From      moment `help:"Only entries written at this time or later: 2026-11-23T10:00:00Z, 2026-11-23, or 2h for two hours ago." placeholder:"TIME"`
	To        moment `help:"Only entries written before this time." placeholder:"TIME"`
}

func (s selection) of(stream string) ledger.Selection {
	return ledger.Selection{
		Error: s.Error, ErrorType: s.ErrorType, Type: s.Type, Tenant: s.Tenant, Stream: stream, Shard: s.Shard,
		From: s.From.Time, To: s.To.Time,
	}
}

// Validate reports what can choose nothing.
func (s selection) Validate() error {
	if err := s.of("any").Validate(); err != nil {
		return fmt.Errorf("--from, --to: %w", err)
	}
	return nil
}

// moment is a point in time, or how long ago that was.
type moment struct{ time.Time }

// UnmarshalText reads it from the command line.
func (m *moment) UnmarshalText(text []byte) error {
	if ago, err := time.ParseDuration(string(text)); err == nil {
		m.Time = time.Now().Add(-ago).UTC().Truncate(time.Second)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, string(text)); err == nil {
			m.Time = at.UTC()
			return nil
		}
	}
	return fmt.Errorf("%q is no time: give 2026-11-23T10:00:00Z, 2026-11-23, or 2h for two hours ago", text)
}

type dlqList struct {
	selection
	Done bool `help:"List resolved entries instead of open ones."`
	format
}

// deadGroup is what has the same error.
type deadGroup struct {
	Error   string    `json:"error"`
	Reason  string    `json:"reason"` // without what differs from record to record
	Records int       `json:"records"`
	Tenants []string  `json:"tenants"`
	Types   []string  `json:"types"`
	First   time.Time `json:"first"` // when the first and the last entry were written
	Last    time.Time `json:"last"`
	Keys    []string  `json:"keys"` // of entries
	// Held: they are not given up. It is a copy of what a ProcessBatch is at work
	// on, for half of the stream's retention by then.
	Held   bool     `json:"held,omitempty"`
	HeldBy []string `json:"heldBy,omitempty"`
}

// cause is what a group has in common.
type cause struct {
	outcome.Error
	held bool
}

// Run lists the entries of the ledger that match, grouped by error.
func (l dlqList) Run(ctx context.Context, r *config.Resources, out output) error {
	book, err := openLedger(ctx, r)
	if err != nil {
		return err
	}
	sorted, _, err := l.groups(ctx, book, r.Stream, 0)
	if err != nil {
		return err
	}
	return l.print(out, sorted, func() { writeGroups(out, sorted) })
}

// groups reads the entries that match, at most so many unless that is 0, and groups their
// records by error, the most frequent first. It returns how many entries it has read.
func (l dlqList) groups(ctx context.Context, book *ledger.Ledger, stream string, most int) (sorted []deadGroup, entries int, err error) {
	groups, given := map[cause]*deadGroup{}, givenUp{}
	copies := map[string]ledger.Entry{}
	for key, err := range book.List(ctx, ledger.Filter{Done: l.Done, Stream: stream, Shard: l.Shard}) {
		if err != nil {
			return nil, entries, err
		}
		if entries++; most > 0 && entries > most {
			entries--
			break
		}
		e, err := book.Get(ctx, key)
		if errors.Is(err, fs.ErrNotExist) { // resolved since it was listed
			continue
		}
		if err != nil {
			return nil, entries, err
		}
		if e.Held != nil { // what its holder has given up stands behind it in the list, too
			copies[key] = withoutData(e)
			continue
		}
		given.add(e)
		l.collect(groups, key, e, given)
	}
	for key, e := range copies {
		l.collect(groups, key, e, given)
	}
	sorted = make([]deadGroup, 0, len(groups))
	for _, g := range groups {
		sorted = append(sorted, *g)
	}
	slices.SortFunc(sorted, func(a, b deadGroup) int {
		if a.Held != b.Held {
			return map[bool]int{false: -1, true: 1}[a.Held]
		}
		return cmp.Or(b.Records-a.Records, strings.Compare(a.Error, b.Error), strings.Compare(a.Reason, b.Reason))
	})
	return sorted, entries, nil
}

// collect adds to groups the records of an entry that match, but of a copy those
// that its holder has given up since: they are in entries of their own.
func (l dlqList) collect(groups map[cause]*deadGroup, key string, e ledger.Entry, given givenUp) {
	chosen := l.of("")
	if !chosen.Written(e) || e.Resolution != nil && e.Resolution.How == ledger.HowReleased {
		return
	}
	add := func(err outcome.Error, records int, tenant, kind string) {
		same := cause{err.Alike(), e.Held != nil}
		g := groups[same]
		if g == nil {
			g = &deadGroup{Error: same.Type, Reason: same.Reason, Tenants: []string{}, Types: []string{}, First: e.At, Last: e.At, Held: same.held}
			groups[same] = g
		}
		if e.Held != nil {
			g.HeldBy = with(g.HeldBy, e.Held.By)
		}
		g.Records += records
		g.Tenants, g.Types, g.Keys = with(g.Tenants, tenant), with(g.Types, kind), with(g.Keys, key)
		if e.At.Before(g.First) {
			g.First = e.At
		}
		if e.At.After(g.Last) {
			g.Last = e.At
		}
	}
	for _, record := range e.Records {
		if e.Held != nil && given.has(e.Range, record.Sequence) {
			continue
		}
		if record.Tenant == telemetry.CanaryTenant && l.Tenant == "" { // no user misses it
			continue
		}
		if (record.Ended == "" || l.Done) && chosen.Record(record) {
			add(record.Error, 1, record.Tenant, record.Type)
		}
	}
	if len(e.Records) == 0 && chosen.Entry(e) {
		add(*e.Cause, e.Range.Count, "", "")
	}
}

// withoutData is an entry without the payload of its records.
func withoutData(e ledger.Entry) ledger.Entry {
	for i := range e.Records {
		e.Records[i].Data = nil
	}
	return e
}

// givenUp are the ranges of entries of records that were given up, by shard; of a
// sparse entry those of its records.
type givenUp map[string][]telemetry.Range

func (g givenUp) add(e ledger.Entry) {
	if e.Kind != ledger.Bulk && e.Kind != ledger.Parked {
		return
	}
	if !e.Sparse {
		g[e.Range.Shard] = append(g[e.Range.Shard], e.Range)
		return
	}
	for _, r := range e.Records {
		one := e.Range
		one.First, one.Last = r.Sequence, r.Sequence
		g[e.Range.Shard] = append(g[e.Range.Shard], one)
	}
}

func (g givenUp) has(of telemetry.Range, sequence string) bool {
	return slices.ContainsFunc(g[of.Shard], func(r telemetry.Range) bool {
		return r.StreamCreated.Equal(of.StreamCreated) && telemetry.ComparePositions(r.First, sequence) <= 0 && telemetry.ComparePositions(sequence, r.Last) <= 0
	})
}

// with adds a text to a sorted list that has it once.
func with(list []string, text string) []string {
	at, found := slices.BinarySearch(list, text)
	if found || text == "" {
		return list
	}
	return slices.Insert(list, at, text)
}

func writeGroups(out output, groups []deadGroup) {
	if len(groups) == 0 {
		fmt.Fprintln(out, "none")
		return
	}
	for i, g := range groups {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%d records in %d entries: %s: %s\n", g.Records, len(g.Keys), g.Error, g.Reason)
		rows := [][]string{{"  tenants", orDash(strings.Join(g.Tenants, ", "))}, {"  types", orDash(strings.Join(g.Types, ", "))}}
		if g.Held {
			rows = append(rows, []string{"  held by", strings.Join(g.HeldBy, ", ") + ": copies, nothing is given up"})
		}
		table(out, append(rows, []string{"  written", clock(g.First) + " to " + clock(g.Last)}, []string{"  such as", g.Keys[0]})...)
	}
}

type dlqShow struct {
	Key string `arg:"" help:"Key of the entry, as listed: ledger/open/…"`
	format
}

// Run prints an entry: as text without the bodies of its records, as JSON with
// them.
func (s dlqShow) Run(ctx context.Context, r *config.Resources, out output) error {
	book, err := openLedger(ctx, r)
	if err != nil {
		return err
	}
	e, err := book.Get(ctx, s.Key)
	if err != nil {
		return err
	}
	return s.print(out, e, func() { writeEntry(out, e) })
}

func writeEntry(out output, e ledger.Entry) {
	state := "open"
	if e.Resolution != nil {
		state = fmt.Sprintf("%s by %s at %s", e.Resolution.How, orDash(e.Resolution.By), clock(e.Resolution.At))
		if e.Resolution.Note != "" {
			state += ": " + e.Resolution.Note
		}
	}
	rows := [][]string{{"kind", string(e.Kind)}, {"state", state}, {"written", clock(e.At)}, {"by", orDash(e.Source)}}
	if e.Kind != ledger.Ingest {
		rows = append(rows, []string{"range", e.Range.String()})
	}
	if e.Cause != nil {
		rows = append(rows, []string{"cause", e.Cause.Type + ": " + e.Cause.Reason})
	}
	if e.Held != nil && e.Resolution == nil {
		rows = append(rows, []string{"held", e.Held.By + " is at work on its records, unless it was terminated: this is a copy"})
	}
	if r := e.Reprocessing; r != nil {
		rows = append(rows, []string{"tried", fmt.Sprintf("%s at %s by %s", r.Mode, clock(r.At), r.By)})
		if r.Replaces != "" {
			rows = append(rows, []string{"replaces", r.Replaces})
		}
		if r.Error != nil {
			rows = append(rows, []string{"still open", r.Error.Type + ": " + r.Error.Reason})
		}
	}
	table(out, rows...)
	if len(e.Records) == 0 {
		fmt.Fprintln(out, "\nit has no records: they were not read")
		return
	}
	fmt.Fprintln(out)
	rows = [][]string{{"ID", "TYPE", "TENANT", "INDEX", "ERROR"}}
	for _, record := range e.Records {
		rows = append(rows, []string{
			orDash(record.ID), orDash(record.Type), orDash(record.Tenant), orDash(record.Index),
			cmp.Or(record.Ended, record.Error.Type+": "+record.Error.Reason),
		})
	}
	table(out, rows...)
}
