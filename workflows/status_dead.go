package workflows

import (
	"fmt"
	"strings"
	"time"

	"millrace/activities/deadletters"
)

// Markdown shows the status in the Temporal UI.
func (s KeepStatus) Markdown() string {
	var t table
	t.row("State", s.State)
	for _, hold := range s.Holds {
		t.row("Paused by", describe(hold))
	}
	c := s.Counts
	t.row("Messages", fmt.Sprintf("%d are in the ledger, and deleted", c.Messages))
	t.row("Ledger", fmt.Sprintf("%d entries with %d records written, that it did not have", c.Entries, c.Records))
	if c.Lost > 0 {
		t.row("Lost", fmt.Sprintf("%d records were no longer in the stream: see the ledger, and the backup", c.Lost))
	}
	if s.Stay > 0 {
		t.row("Unreadable", fmt.Sprintf("%d messages stay in the queue", s.Stay))
	}
	t.row("Worker", s.Worker)
	t.row("Last error", s.LastError)
	text := "### Queue " + s.Queue + " into the ledger\n\n" + t.String()
	if len(s.Unreadable) > 0 {
		text += "\n| Unreadable message | Sent | Why |\n|---|---|---|\n"
		for _, l := range s.Unreadable {
			text += "| " + l.ID + " | " + l.Sent.UTC().Format(time.RFC3339) + " | " + cell(l.Error) + " |\n"
		}
	}
	return text
}

// Markdown shows the status in the Temporal UI.
func (s ReprocessStatus) Markdown() string {
	var t table
	p := s.Done
	t.row("State", s.State)
	t.row("Stopped", p.Stopped)
	for _, hold := range s.Holds {
		t.row("Paused by", describe(hold))
	}
	t.row("By", s.By)
	t.row("Way", s.Way())
	for _, line := range s.Figures() {
		t.row(line[0], line[1])
	}
	t.row("Worker", p.Worker)
	t.row("Last error", p.LastError)
	text := "### Dead letters of " + s.Stream + "\n\n" + t.String()
	if len(p.Errors) > 0 {
		text += "\n| Records | Error | Such as |\n|---|---|---|\n"
		for _, g := range p.Errors {
			text += fmt.Sprintf("| %d | %s | %s |\n", g.Records, cell(g.Error+": "+g.Reason), cell(g.Example))
		}
	}
	if len(p.Unrecoverable) > 0 {
		text += "\nUnrecoverable:\n\n- " + strings.Join(p.Unrecoverable, "\n- ") + "\n"
	}
	return text
}

// cell is a text as it may stand in a table.
func cell(text string) string { return strings.NewReplacer("\n", " ", "|", "\\|").Replace(text) }

// Way says in words which way records go.
func (s ReprocessStatus) Way() string {
	way := "into the stream again"
	if s.Mode == deadletters.ModeDirect {
		way = "into the index directly"
	}
	if s.DryRun {
		way += ": a dry run, nothing is done"
	}
	return way
}

// Figures are what became of the records, or in a dry run what would, as names
// and values.
func (s ReprocessStatus) Figures() (lines [][2]string) {
	c := s.Done.Counts
	add := func(name, text string, n int64) {
		if n > 0 {
			lines = append(lines, [2]string{name, fmt.Sprintf(text, n)})
		}
	}
	lines = append(lines, [2]string{"Records", fmt.Sprintf("%d in %d entries", c.Records, c.Entries)})
	if s.DryRun {
		add("Again", "%d would go "+strings.TrimSuffix(s.Way(), ": a dry run, nothing is done"), c.Records-c.Already-c.Unrecoverable)
		add("Indexed already", "%d: their entries would be resolved", c.Already)
		add("Bytes", "%d", c.Bytes)
		add("Unrecoverable", "%d: found nowhere, their entries would stay", c.Unrecoverable)
		add("Held", "%d: a ProcessBatch is at work on them", c.Held)
		if s.Done.Done {
			lines = append(lines, [2]string{"Estimate", "about " + time.Duration(s.Done.Seconds*float64(time.Second)).Round(time.Second).String()})
		}
		return lines
	}
	add("Indexed", "%d", c.Indexed)
	add("Indexed already", "%d", c.Already)
	add("Refused again", "%d: they stay in the ledger, with the new error", c.Refused)
	add("Unsettled", "%d were ingested again, and not seen since: their entries stay open", c.Unsettled)
	add("Unrecoverable", "%d: found nowhere, their entries stay open", c.Unrecoverable)
	add("Held", "%d: a ProcessBatch is at work on them", c.Held)
	add("Waiting", "%d were ingested again, and are not seen yet", int64(s.Done.Waiting))
	lines = append(lines, [2]string{"Resolved", fmt.Sprintf("%d entries", c.Resolved)})
	return lines
}
