package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// titles name the contenders in the report.
var titles = map[string]string{
	before:   "(a) before: retried whole, no dedup",
	after:    "(b) after: bisect that blocks, dedup",
	millrace: "(c) Millrace",
}

// The published figures, in whose neighborhood the first two are to be.
const (
	seedAverage = 3.0
	seedP99     = 6.0
)

// What Millrace is expected to be better by than the first.
const (
	expectedAverage = 10.0
	expectedP99     = 20.0
)

// summary is the last line.
type summary struct {
	AvgRatio     float64 `json:"avg_ratio"`      // (a) / (c)
	P99Ratio     float64 `json:"p99_ratio"`      // (a) / (c)
	AvgRatioSeed float64 `json:"avg_ratio_seed"` // (b) / (c)
	P99RatioSeed float64 `json:"p99_ratio_seed"` // (b) / (c)
	Lost         uint64  `json:"lost"`
}

// report writes everything down, and fails if Millrace has not kept what it
// was given.
func report(results []*result, o options, to io.Writer) error {
	of := map[string]*result{}
	for _, r := range results {
		of[r.contender] = r
	}
	text := figures(results, of)
	fmt.Fprintf(to, "\n%s\n", text)
	if err := write(results, o.Out, text); err != nil {
		return err
	}
	if of[millrace] == nil {
		return nil
	}
	s := summary{}
	var wrong error
	s.Lost, wrong = of[millrace].lost()
	if of[before] != nil {
		s.AvgRatio, s.P99Ratio = ratios(of[before], of[millrace])
	}
	if of[after] != nil {
		s.AvgRatioSeed, s.P99RatioSeed = ratios(of[after], of[millrace])
	}
	if err := json.NewEncoder(to).Encode(s); err != nil {
		return fmt.Errorf("print the summary: %w", err)
	}
	return wrong
}

func ratios(a, b *result) (average, p99 float64) {
	x, y := a.delays(), b.delays()
	return ratio(x.average(), y.average()), ratio(x.quantile(0.99), y.quantile(0.99))
}

// figures makes a table in Markdown.
func figures(results []*result, of map[string]*result) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "| | average | p50 | p99 | longest | records/s | saved | unfinished | given up |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		d := r.delays()
		given := r.sum(func(o outcome) uint64 { return uint64(o.stats.DeadRecords) })
		if r.contender == millrace {
			given = r.sum(func(o outcome) uint64 { return o.audited.DeadLettered })
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %.0f | %d | %d | %d |\n", titles[r.contender],
			seconds(d.average()), seconds(d.quantile(0.5)), seconds(d.quantile(0.99)), seconds(d.quantile(1)), r.rate(),
			r.sum(func(o outcome) uint64 { return o.saved }), r.sum(func(o outcome) uint64 { return o.unfinished }), given)
	}
	fmt.Fprintf(&b, "\n| | average | p99 | |\n|---|---|---|---|\n")
	line := func(a, c string, note string, args ...any) {
		if of[a] != nil && of[c] != nil {
			average, p99 := ratios(of[a], of[c])
			fmt.Fprintf(&b, "| %.3s / %.3s | %.1f | %.1f | %s |\n", titles[a], titles[c], average, p99, fmt.Sprintf(note, args...))
		}
	}
	line(before, after, "published: %.0f and %.0f", seedAverage, seedP99)
	line(before, millrace, "expected: at least %.0f and %.0f", expectedAverage, expectedP99)
	line(after, millrace, "expected: above 1")
	for _, r := range results {
		if r.contender == millrace {
			lost, _ := r.lost()
			fmt.Fprintf(&b, "\nOf the %d records that Millrace accepted, %d are lost; %d are bad, and in the ledger.\n",
				r.sum(func(o outcome) uint64 { return o.audited.Accepted }), lost, r.sum(func(o outcome) uint64 { return o.audited.DeadLettered }))
			continue
		}
		batches := r.sum(func(o outcome) uint64 { return uint64(o.stats.DeadBatches) })
		records := r.sum(func(o outcome) uint64 { return uint64(o.stats.DeadRecords) })
		unsaved := r.sum(func(o outcome) uint64 { return uint64(o.stats.DeadUnsaved) })
		blocked := time.Duration(0)
		for _, one := range r.runs {
			blocked = max(blocked, one.stats.Blocked)
		}
		fmt.Fprintf(&b, "\n%.3s called its function %d times, and %d calls failed; one batch blocked its shard for up to %s. It gave up %d batches of %d records, of which %d were rejected; the others had been saved.\n",
			titles[r.contender], r.sum(func(o outcome) uint64 { return uint64(o.stats.Invocations) }),
			r.sum(func(o outcome) uint64 { return uint64(o.stats.Failed) }), seconds(blocked), batches, records, unsaved)
	}
	fmt.Fprintf(&b, "\n%d processors, %s, servers and programs on one machine; %d runs of each.\n", runtime.NumCPU(), runtime.Version(), len(results[0].runs))
	return b.String()
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", math.Round(d.Seconds()*10)/10)
}

// write leaves the figures of every second, the plot, and the table in a folder.
func write(results []*result, dir, text string) error {
	all := perSecond(results)
	files := map[string][]byte{"experiment.csv": all.csv(), "experiment.svg": all.svg()}
	document, err := os.ReadFile(filepath.Join(dir, "experiment.md"))
	if err == nil {
		document, err = replaceFigures(document, text)
		files["experiment.md"] = document
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // where there is none, none is made
		return fmt.Errorf("enter the figures: %w", err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// Where the figures stand in experiment.md.
const (
	beginFigures = "<!-- figures of the last run -->\n"
	endFigures   = "<!-- end of figures -->\n"
)

func replaceFigures(document []byte, text string) ([]byte, error) {
	head, rest, ok := bytes.Cut(document, []byte(beginFigures))
	_, tail, ok2 := bytes.Cut(rest, []byte(endFigures))
	if !ok || !ok2 {
		return nil, errors.New("experiment.md has no place for them")
	}
	return bytes.Join([][]byte{head, []byte(beginFigures), []byte(text), []byte(endFigures), tail}, nil), nil
}
