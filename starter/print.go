package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"millrace/internal/control"
)

// output is where a command prints to.
type output io.Writer

// format is how a status is printed.
type format struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// print prints a value as JSON, or has it printed as text.
func (f format) print(out output, value any, text func()) error {
	if !f.JSON {
		text()
		return nil
	}
	encoded, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	fmt.Fprintln(out, string(encoded))
	return nil
}

// table prints rows in columns, the first row in capitals.
func table(out output, rows ...[]string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // printing to a person
}

// holds says who keeps something paused.
func holds(all []control.Hold) string {
	texts := make([]string, len(all))
	for i, hold := range all {
		texts[i] = hold.By
		if !hold.Until.IsZero() {
			texts[i] += " until " + clock(hold.Until)
		}
		if hold.Reason != "" {
			texts[i] += " (" + hold.Reason + ")"
		}
	}
	return strings.Join(texts, ", ")
}

// clock prints a time in UTC, as the logs do.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
