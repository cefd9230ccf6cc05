package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// figures are what was measured, in the order of the table.
type figures []figure

type figure struct {
	name  string
	value float64
	note  string
}

// add enters a figure; its name is its key for programs.
func (f *figures) add(name string, value float64, note string, args ...any) {
	*f = append(*f, figure{name, value, fmt.Sprintf(note, args...)})
}

// value returns a figure that was entered before.
func (f figures) value(name string) (float64, bool) {
	i := slices.IndexFunc(f, func(one figure) bool { return one.name == name })
	if i < 0 {
		return 0, false
	}
	return f[i].value, true
}

// table prints the figures as a table.
func (f figures) table(w io.Writer, title string) {
	fmt.Fprintf(w, "\n%s\n\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, one := range f {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", one.name, number(one.value), one.note)
	}
	_ = t.Flush() // to a person
	fmt.Fprintln(w)
}

// number prints a value with three digits that count.
func number(v float64) string {
	switch {
	case math.Abs(v) >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%10.0f   ", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%12.1f ", v)
	}
	return fmt.Sprintf("%13.2f", v)
}

// json prints the figures for programs, on one line.
func (f figures) json(w io.Writer) error {
	flat := map[string]float64{}
	for _, one := range f {
		flat[one.name] = math.Round(one.value*1000) / 1000
	}
	if err := json.NewEncoder(w).Encode(flat); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	return nil
}

// spread is a figure of several runs.
type spread []float64

// median is of an even number of runs the mean of the two in the middle.
func (s spread) median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// String gives the range.
func (s spread) String() string {
	return fmt.Sprintf("%s to %s", short(slices.Min(s)), short(slices.Max(s)))
}

func short(v float64) string {
	if math.Abs(v) >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// collect makes a spread of one figure of several runs.
func collect[R any](runs []R, figure func(R) float64) spread {
	var s spread
	for _, run := range runs {
		s = append(s, figure(run))
	}
	return s
}

// best returns the position of the item with the greatest value.
func best[T any, V cmp.Ordered](items []T, value func(T) V) int {
	at := 0
	for i := range items {
		if value(items[i]) > value(items[at]) {
			at = i
		}
	}
	return at
}

func mebibytes(n int64) float64                 { return float64(n) / (1 << 20) }
func milliseconds(d time.Duration) float64      { return float64(d) / float64(time.Millisecond) }
func perMillion(d time.Duration, n int) float64 { return d.Seconds() / float64(n) * 1e6 }
