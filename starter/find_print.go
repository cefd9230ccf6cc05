package main

import (
	"cmp"
	"fmt"
	"strings"

	"millrace/starter/find"
)

// writeAnswer prints where a record is, one place after the other.
func writeAnswer(out output, a find.Answer) {
	writeSearch(out, "index", a.Index, func(d find.Document) [][]string {
		return [][]string{
			{"document", d.Doc + " in " + d.Index}, {"record", orDash(d.Type) + " " + d.ID + " of " + d.Tenant},
			{"received", clock(d.ReceivedAt) + " in " + orDash(d.Region)}, {"indexed", clock(d.IndexedAt)},
		}
	})
	writeSearch(out, "ledger", a.Ledger, letterRows)
	writeSearch(out, "ingest", a.Ingest, func(i find.Ingest) [][]string {
		left := "not known: no worker has answered"
		if i.Left >= 0 {
			left = fmt.Sprintf("%d of %d records, safe in the input of the workflow", i.Left, i.Records)
		}
		rows := [][]string{{"batch", i.Workflow}, {"state", i.State}, {"left", left}}
		if i.Position >= 0 {
			rows = append(rows, []string{"position", fmt.Sprint(i.Position)})
		}
		return rows
	})
	writeSearch(out, "queue", a.Queue, func(q find.Queued) [][]string {
		return [][]string{{"put there by", q.Workflow}, {"at", clock(q.At)}, {"position", fmt.Sprintf("%d in its batch", q.Position)}}
	})
	writeSearch(out, "batches", a.Batches, func(b find.Batch) [][]string {
		rows := [][]string{
			{"batch", b.Workflow}, {"position", b.Shard + " " + b.Sequence}, {"piece", b.First + "-" + b.Last},
			{"state", fmt.Sprintf("%s, %d attempts failed", b.State, b.Attempts)}, {"error", b.Error.Type + ": " + b.Error.Reason},
		}
		if !b.Due.IsZero() {
			rows = append(rows, []string{"due", clock(b.Due)})
		}
		return rows
	})
	writeSearch(out, "stream", a.Stream, func(p find.Position) [][]string {
		return [][]string{{"shard", p.Shard}, {"sequence", orDash(p.Sequence)}, {"known by", p.From}}
	})
	writeSearch(out, "backup", a.Backup, func(c find.Copy) [][]string {
		return [][]string{{"object", c.Object}, {"position", c.Shard + " " + c.Sequence}, {"arrived", clock(c.Arrived)}}
	})
	if !a.Found {
		fmt.Fprintln(out, "\nnot found")
	}
}

func letterRows(l find.Letter) [][]string {
	state := "open"
	switch {
	case l.Held != "" && l.Open:
		state = "a copy of what " + l.Held + " holds: not given up"
	case l.Resolution != nil:
		state = fmt.Sprintf("%s by %s at %s", l.Resolution.How, orDash(l.Resolution.By), clock(l.Resolution.At))
	case l.Ended != "":
		state = l.Ended
	}
	rows := [][]string{
		{"entry", l.Key}, {"record", orDash(l.Type) + " " + l.ID + " of " + l.Tenant},
		{"written", clock(l.At)}, {"state", state}, {"error", l.Error.Type + ": " + l.Error.Reason},
	}
	if l.Sequence != "" {
		rows = append(rows, []string{"position", l.Shard + " " + l.Sequence})
	}
	return rows
}

// writeSearch prints what a place has, and what of it was not searched.
func writeSearch[T any](out output, place string, s find.Search[T], rows func(T) [][]string) {
	fmt.Fprintf(out, "%-8s %s\n", place, s.State)
	for i, one := range s.Found {
		if i > 0 {
			fmt.Fprintln(out)
		}
		var indented [][]string
		for _, row := range rows(one) {
			indented = append(indented, []string{"  " + row[0], cmp.Or(inCell(row[1]), "-")})
		}
		table(out, indented...)
	}
	if s.More {
		fmt.Fprintf(out, "  … and more: --most lists more than these %d\n", len(s.Found))
	}
	for _, gap := range s.Gaps {
		word := "not searched: "
		if s.State == find.Failed {
			word = ""
		}
		fmt.Fprintf(out, "  %s%s\n", word, gap)
	}
}

// inCell keeps what a tenant wrote in its row: these would end a cell of a table.
func inCell(text string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`, "\v", `\v`, "\f", `\f`).Replace(text)
}
