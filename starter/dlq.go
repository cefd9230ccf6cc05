package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/ledger"
)

type dlqCommands struct {
	List dlqList `cmd:"" help:"List the records that were given up, grouped by error."`
	Show dlqShow `cmd:"" help:"Show one entry of the ledger: its records, and what was said of each."`
}

// openLedger finds the ledger of the stream.
func openLedger(ctx context.Context, r *config.Resources) (*ledger.Ledger, error) {
	cfg, err := config.AWS(ctx)
	if err != nil {
		return nil, err
	}
	return ledger.New(archive.Open(config.S3(cfg), r.Bucket), r.Stream), nil
}

type dlqList struct {
	Error  string `help:"Only errors whose type or reason has this text."`
	Type   string `help:"Only records of this type, such as span."`
	Tenant string `help:"Only records of this tenant."`
	Shard  string `help:"Only of this shard: its whole id, or ingest for records that the stream did not take."`
	Done   bool   `help:"Those that were resolved, instead of those that are open."`
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
}

// Run lists the entries of the ledger that match, grouped by error.
func (l dlqList) Run(ctx context.Context, r *config.Resources, out output) error {
	book, err := openLedger(ctx, r)
	if err != nil {
		return err
	}
	groups := map[[2]string]*deadGroup{}
	for key, err := range book.List(ctx, ledger.Filter{Done: l.Done, Stream: r.Stream, Shard: l.Shard}) {
		if err != nil {
			return err
		}
		e, err := book.Get(ctx, key)
		if err != nil {
			return err
		}
		l.collect(groups, key, e)
	}
	sorted := make([]deadGroup, 0, len(groups))
	for _, g := range groups {
		sorted = append(sorted, *g)
	}
	slices.SortFunc(sorted, func(a, b deadGroup) int {
		return cmp.Or(b.Records-a.Records, strings.Compare(a.Error, b.Error), strings.Compare(a.Reason, b.Reason))
	})
	return l.print(out, sorted, func() { writeGroups(out, sorted) })
}

// collect adds to groups the records of an entry that match.
func (l dlqList) collect(groups map[[2]string]*deadGroup, key string, e ledger.Entry) {
	add := func(cause ledger.Error, records int, tenant, kind string) {
		if !strings.Contains(cause.Type+"\n"+cause.Reason, l.Error) {
			return
		}
		if l.Type != "" && l.Type != kind || l.Tenant != "" && l.Tenant != tenant {
			return
		}
		same := [2]string{cause.Type, alike(cause.Reason)}
		g := groups[same]
		if g == nil {
			g = &deadGroup{Error: same[0], Reason: same[1], Tenants: []string{}, Types: []string{}, First: e.At, Last: e.At}
			groups[same] = g
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
		add(record.Error, 1, record.Tenant, record.Type)
	}
	if e.Cause != nil {
		add(*e.Cause, e.Range.Count, "", "")
	}
}

var (
	position = regexp.MustCompile(`^\[\d+:\d+\] `)
	quoted   = regexp.MustCompile(`'[^']*'`)
)

// alike is a reason without what differs from record to record, which is a
// tenant's as well.
func alike(reason string) string {
	reason, _, _ = strings.Cut(reason, " Preview of field's value")
	return quoted.ReplaceAllString(position.ReplaceAllString(reason, ""), "'…'")
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
		table(out,
			[]string{"  tenants", orDash(strings.Join(g.Tenants, ", "))}, []string{"  types", orDash(strings.Join(g.Types, ", "))},
			[]string{"  written", clock(g.First) + " to " + clock(g.Last)}, []string{"  such as", g.Keys[0]},
		)
	}
}

type dlqShow struct {
	Key string `arg:"" help:"The entry's key, as listed: ledger/open/…"`
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
	}
	rows := [][]string{{"kind", string(e.Kind)}, {"state", state}, {"written", clock(e.At)}, {"by", orDash(e.Source)}}
	if e.Kind != ledger.Ingest {
		rows = append(rows, []string{"range", e.Range.String()})
	}
	if e.Cause != nil {
		rows = append(rows, []string{"cause", e.Cause.Type + ": " + e.Cause.Reason})
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
			record.Error.Type + ": " + record.Error.Reason,
		})
	}
	table(out, rows...)
}
