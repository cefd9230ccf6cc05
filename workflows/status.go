package workflows

import (
	"fmt"
	"strings"
	"time"

	"millrace/internal/control"
	"millrace/internal/indexing"
)

// Markdown shows the status in the Temporal UI.
func (s ShardStatus) Markdown() string {
	var t table
	t.row("State", s.State)
	for _, hold := range s.Holds {
		t.row("Paused by", describe(hold))
	}
	t.row("Checkpoint", orNone(s.Checkpoint.Sequence, "the beginning of what the stream keeps"))
	if !s.Checkpoint.ReadUpTo.IsZero() {
		t.row("Read up to", s.Checkpoint.ReadUpTo.UTC().Format(time.RFC3339))
	}
	t.row("Lag", time.Duration(s.LagSeconds*float64(time.Second)).Round(time.Millisecond).String())
	t.row("Worker", s.Worker)
	t.counts(s.Counts)
	for _, tenant := range s.Offenders {
		t.row("Offender", tenant.String())
	}
	t.row("Last error", s.LastError)
	if len(s.Children) > 0 {
		t.row("Goes on in", strings.Join(s.Children, ", "))
	}
	return "### Shard " + s.Shard + " of " + s.Stream + "\n\n" + t.String()
}

// Markdown shows the status in the Temporal UI.
func (s StreamStatus) Markdown() string {
	var b strings.Builder
	b.WriteString("### Stream " + s.Stream.Name + ": " + s.State + "\n\n")
	for _, hold := range s.Holds {
		b.WriteString("Paused by " + describe(hold) + "\n\n")
	}
	b.WriteString("| Shard | State | Parents |\n|---|---|---|\n")
	for _, shard := range s.Shards {
		b.WriteString("| " + shard.ID + " | " + shard.State + " | " + strings.Join(shard.Parents, ", ") + " |\n")
	}
	return b.String()
}

// Markdown shows the status in the Temporal UI.
func (s BatchStatus) Markdown() string {
	var t table
	t.row("State", s.State)
	t.row("Range", s.Range.String())
	t.row("Cause", s.Cause.Type+": "+s.Cause.Reason)
	t.counts(s.Counts)
	t.row("In the ledger", s.Copy())
	text := "### Records that could not be indexed with their neighbours\n\n" + t.String() + "\n"
	if lines := s.Lines(); len(lines) > 0 {
		if more := len(lines) - mostDrawn; more > 0 {
			lines = append(lines[:mostDrawn], fmt.Sprintf("… and %d more: see the query %s", more, StatusQuery))
		}
		text += "```\n" + strings.Join(lines, "\n") + "\n```\n"
	}
	return text
}

// Copy says in words whether the held records are in the ledger as well.
func (s BatchStatus) Copy() string {
	switch {
	case s.CopyAt.IsZero() || s.Tree == nil || !s.Tree.open():
		return ""
	case s.Copied:
		return "a copy, since half of the stream's retention is over"
	}
	return "a copy of what is left then, at " + s.CopyAt.UTC().Format(time.RFC3339)
}

// Lines draw the tree of what is left, a line for each node.
func (s BatchStatus) Lines() []string {
	if s.Tree == nil || !s.Tree.open() {
		return nil
	}
	return s.Tree.draw(0, s.MaxAttempts)
}

// mostDrawn bounds the lines of a tree, since the Temporal UI shows all of it.
const mostDrawn = 60

// draw draws the tree below a node, a line for each, without what is done.
func (n *BatchNode) draw(depth, maxAttempts int) []string {
	line := strings.Repeat("  ", depth) + fmt.Sprintf("%s-%s  %d records  %s", short(n.Range.First), short(n.Range.Last), n.Range.Count, n.State)
	if n.Asked != "" {
		line += ", then " + n.Asked
	}
	if n.Attempts > 0 {
		line += fmt.Sprintf("  attempt %d of %d failed", n.Attempts, maxAttempts)
	}
	if n.State != NodeSplit && n.Cause.Type != "" {
		line += "  " + strings.ReplaceAll(n.Cause.Type+": "+n.Cause.Reason, "\n", " ")
	}
	lines := []string{line}
	for _, child := range n.Children {
		if child.open() {
			lines = append(lines, child.draw(depth+1, maxAttempts)...)
		}
	}
	return lines
}

// cutOff stands for what is not shown of a sequence number.
const cutOff = "…"

// short is the end of a sequence number: the rest is the same for a whole shard.
func short(sequence string) string {
	const most = 10
	if len(sequence) <= most {
		return sequence
	}
	return cutOff + sequence[len(sequence)-most:]
}

// Markdown shows the status in the Temporal UI.
func (s IngestStatus) Markdown() string {
	var t table
	t.row("State", s.State)
	t.row("Records", fmt.Sprint(s.Records))
	if s.Left > 0 {
		t.row("Left", fmt.Sprintf("%d, safe in the input of this workflow", s.Left))
	}
	t.row("Last error", s.LastError)
	return "### A batch of the collector\n\n" + t.String()
}

// Markdown shows the status in the Temporal UI.
func (s RedriveStatus) Markdown() string {
	var t table
	t.row("State", s.State)
	for _, hold := range s.Holds {
		t.row("Paused by", describe(hold))
	}
	c := s.Counts
	t.row("Records", fmt.Sprintf("%d put into the stream, %d sent back to the queue, %d dead letters", c.Records, c.Returned, c.Dead))
	t.row("Messages", fmt.Sprintf("%d redriven", c.Messages))
	if s.Pace > 0 {
		t.row("Pace", fmt.Sprintf("%.0f records a second, since the stream throttles", s.Pace))
	}
	t.row("Worker", s.Worker)
	t.row("Last error", s.LastError)
	return "### Queue " + s.Queue + " into the stream\n\n" + t.String()
}

// table is a table of names and values.
type table struct{ strings.Builder }

func (t *table) row(name, value string) {
	if value == "" {
		return
	}
	if t.Len() == 0 {
		t.WriteString("| | |\n|---|---|\n")
	}
	// What servers say may have line breaks and bars in it.
	value = strings.NewReplacer("\n", " ", "|", "\\|").Replace(value)
	t.WriteString("| " + name + " | " + value + " |\n")
}

func (t *table) counts(c indexing.Counts) {
	t.row("Records", fmt.Sprintf("%d, of them %d indexed, %d duplicates, %d dead letters, %d handed over to %d ProcessBatch",
		c.Records, c.Indexed, c.Duplicates, c.DeadLetters, c.HandedOver, c.Batches))
	if c.Conflicts+c.Unchecked > 0 {
		t.row("Under an id that was indexed", fmt.Sprintf("%d in conflict with their documents, %d unchecked", c.Conflicts, c.Unchecked))
	}
	if c.Losses > 0 {
		t.row("Possible losses", fmt.Sprintf("%d: see the ledger, and the backup", c.Losses))
	}
}

func describe(h control.Hold) string {
	text := h.By
	if !h.Until.IsZero() {
		text += " until " + h.Until.UTC().Format(time.RFC3339)
	}
	if h.Reason != "" {
		text += ": " + h.Reason
	}
	return text
}

func orNone(text, none string) string {
	if text == "" {
		return none
	}
	return text
}
