package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"text/template"
)

// row is a line of a sheet.
type row struct{ what, value string }

// rows are a sheet's lines.
func rows(s Sheet, p Prices) []row {
	limit := "their bytes"
	if s.Stream.ByRecords {
		limit = "their number"
	}
	all := []row{
		{"records a second", fmt.Sprintf("%s, at the peak %s", count(s.Load.average()), count(s.Load.average()*s.Load.Peak))},
		{"pipelines side by side", count(s.Stream.Pipelines)},
		{"shards", fmt.Sprintf("%s, for %s", count(s.Stream.Shards), limit)},
		{"documents in a record of the stream", digits(s.Stream.Documents)},
		{"bytes of a document in the stream", digits(s.Stream.Bytes)},
		{"collectors' --ingest-linger", fmt.Sprintf("%.0f ms", 1e3*s.Stream.Linger)},
		{"collectors, of 4 processors", count(s.Collectors)},
		{"workers, of 4 processors", count(s.Workers)},
		{"workers' --index-slots and --backup-slots", count(s.Slots)},
		{"Temporal, state transitions a second", count(s.Transitions)},
		{"Elasticsearch, nodes of 8 processors", count(s.Elasticsearch)},
		{"Elasticsearch, disk", bytesOf(s.Disk)},
		{"backup in S3", fmt.Sprintf("%s, %s objects a second", bytesOf(s.Backup), digits(s.Objects))},
	}
	for _, c := range s.Costs {
		all = append(all, row{c.What, dollars(c.USD)})
	}
	return append(all,
		row{"**in all, a month**", "**" + dollars(s.Total()) + "**"},
		row{"stream, on-demand standard instead", dollars(s.onDemand(p))},
		row{"stream, on-demand advantage instead", dollars(s.advantage(p))},
	)
}

// print prints one sheet.
func print(w io.Writer, s Sheet, p Prices) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows(s, p) {
		fmt.Fprintf(t, "%s\t%s\n", strings.Trim(r.what, "*"), strings.Trim(r.value, "*"))
	}
	_ = t.Flush() // to a terminal
}

// table prints sheets side by side, as Markdown.
func table(p Prices, heads []string, sheets []Sheet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s |\n|---|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
	all := make([][]row, len(sheets))
	for i, s := range sheets {
		all[i] = rows(s, p)
	}
	for n, r := range all[0] {
		fmt.Fprintf(&b, "| %s |", r.what)
		for _, of := range all {
			fmt.Fprintf(&b, " %s |", of[n].value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

//go:embed scale.md.tmpl
var text string

// document is docs/scale.md, with the table of what is simulated.
func document(u Units, p Prices, simulated string) []byte {
	usual := options{Record: 450, Peak: 1.5, Ingest: "direct", KeepDays: 7, BackupDays: 90, Replicas: 1}
	sheet := func(tb float64, form, ingest string) Sheet {
		o := usual
		o.TBPerHour, o.Form, o.Ingest = tb, form, ingest
		return sheetOf(o.load(), u, p)
	}
	const small = 0.036 // 10 MB/s
	loads := map[string]string{
		"Small": table(p, []string{"10 MB/s, through Temporal", "10 MB/s, direct", "10 MB/s, direct, singles"},
			[]Sheet{sheet(small, "pack", "temporal"), sheet(small, "pack", "direct"), sheet(small, "single", "direct")}),
		"Large": table(p, []string{"1 TB/h", "1 TB/h, singles", "10 TB/h", "10 TB/h, singles"},
			[]Sheet{sheet(1, "pack", "direct"), sheet(1, "single", "direct"), sheet(10, "pack", "direct"), sheet(10, "single", "direct")}),
	}
	var b bytes.Buffer
	t := template.Must(template.New("").Funcs(template.FuncMap{"digits": digits, "add": func(a, b float64) float64 { return a + b }}).Parse(text))
	if err := t.Execute(&b, map[string]any{"Units": u, "Prices": p, "Loads": loads, "Simulated": simulated}); err != nil {
		panic(fmt.Sprintf("write docs/scale.md: %v", err)) // a mistake in the template
	}
	return b.Bytes()
}

// digits prints a number with two digits that count, or all before the point.
func digits(v float64) string {
	if v >= 10 {
		return count(v)
	}
	return fmt.Sprintf("%.2g", v)
}

// count prints a number in groups of three digits.
func count(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func dollars(v float64) string { return "$" + count(v) }

// bytesOf prints bytes in units of 1,000.
func bytesOf(v float64) string {
	units := []string{"B", "KB", "MB", "GB", "TB", "PB"}
	n := int(min(max(math.Log10(max(v, 1))/3, 0), float64(len(units)-1)))
	return digits(v/math.Pow(1e3, float64(n))) + " " + units[n]
}
