package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// Reprocessor is what the activity of ReprocessDeadLetters needs.
type Reprocessor struct {
	Stream    telemetry.StreamID
	Source    Fetcher
	Ledger    *ledger.Ledger
	Documents Documents
	// Intake makes what ingests again; what the stream will never take goes to
	// the ledger.
	Intake func(intake.DeadLetters) Writer
	// Indexer is what indexes directly: this worker's own. BulkRecords bounds its
	// bulks.
	Indexer     *indexing.Indexer
	BulkRecords int
	Workflows   Running
	Worker      string // identity of this worker, for operators
}

// Documents tells which documents are indexed. See index.Client.
type Documents interface {
	Exist(ctx context.Context, documents []sink.Reference) ([]bool, error)
}

// Writer makes records durable and returns the positions of those that are not yet.
// See intake.Writer.
type Writer interface {
	Put(ctx context.Context, batch string, records [][]byte) (left []int, err error)
}

// Running tells whether a workflow runs.
type Running interface {
	Runs(ctx context.Context, id string) (bool, error)
}

// Ways to bring records home.
const (
	// ModeIngest puts them into the stream again: they go the way of all
	// others, past the caches and circuits of their shards.
	ModeIngest = "ingest"
	// ModeDirect writes them into the index at once.
	ModeDirect = "direct"
)

// ReprocessCall says what to reprocess, and how far that is.
type ReprocessCall struct {
	Stream   string            `json:"stream"`
	Select   ledger.Selection  `json:"select"`
	Mode     string            `json:"mode"`
	DryRun   bool              `json:"dryRun,omitempty"`
	Run      string            `json:"run"` // tells it from an earlier one of the same id
	Settle   time.Duration     `json:"settle"`
	For      time.Duration     `json:"for"`
	Progress ReprocessProgress `json:"progress"`
}

// ReprocessProgress is a call's result, and on the way there the details of its
// heartbeat, from which its retry goes on.
type ReprocessProgress struct {
	// Cursor is the key up to which all entries are done with.
	Cursor string          `json:"cursor,omitempty"`
	Counts ReprocessCounts `json:"counts"`
	// Errors are those of the records: in a dry run all, else of those that
	// were refused again.
	Errors ledger.Groups `json:"errors,omitempty"`
	// Unrecoverable are the first entries whose records are found nowhere.
	Unrecoverable []string `json:"unrecoverable,omitempty"`
	// Portion is how many records are ingested again at once; it grows while
	// all is well.
	Portion int `json:"portion,omitempty"`
	// Waiting is how many records were ingested again, of which nothing is
	// known yet.
	Waiting int  `json:"waiting,omitempty"`
	Done    bool `json:"done,omitempty"` // there are no more entries
	// Stopped is why it goes no further.
	Stopped string `json:"stopped,omitempty"`
	// Seconds is about how long all of it would take, by a dry run.
	Seconds   float64 `json:"seconds,omitempty"`
	Worker    string  `json:"worker,omitempty"`
	LastError string  `json:"lastError,omitempty"`
}

// ReprocessCounts says what became of the records of a selection. Each is in
// one of the others, but for Records and those that wait.
type ReprocessCounts struct {
	Entries int64 `json:"entries"` // that have such records
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
	Indexed int64 `json:"indexed"` // now
	Already int64 `json:"already"` // were indexed before
	// Refused again: they stay in the ledger, with the new error. Where they
	// were ingested again that is in an entry of their own, which replaces
	// theirs.
	Refused       int64 `json:"refused"`
	Unsettled     int64 `json:"unsettled"` // ingested again, and not seen since; their entries stay open
	Unrecoverable int64 `json:"unrecoverable"`
	Held          int64 `json:"held"`     // a ProcessBatch is at work on them
	Resolved      int64 `json:"resolved"` // entries that are done
}

const (
	// firstPortion is how many records are ingested again at first: fewer than
	// open the circuit of a shard, should they all be refused.
	firstPortion = circuit.Least / 2
	// largestPortion bounds in records, and portionBytes in bytes, what is
	// taken together.
	largestPortion = 2000
	portionBytes   = 4 << 20
	// leastJudged is how many records it takes to judge them all.
	leastJudged = 10
	// mostUnrecoverable bounds the entries that a status lists.
	mostUnrecoverable = 50
	// readsAtOnce bounds the entries that are read ahead, of some MiB each at
	// the worst.
	readsAtOnce = 8
	// looksAtOnce is after how many entries, selected or not, it is said how far
	// this is.
	looksAtOnce = 1000
)

// What reprocessing may have to wait for, as operators read it.
const (
	writingLedger = "write to the ledger"
	fetching      = "fetch from the stream"
	ingesting     = "ingest again"
	settling      = "look for what was ingested again"
	checking      = "ask whether a ProcessBatch still runs"
)

// ReprocessEntries takes the selected records of the ledger, portion after
// portion, to where they belong: into the stream, or into the index. An entry
// is resolved when each of its records has ended well. It ends well when its
// time is over, or it is canceled, or the worker stops, at the entry it has
// come to; the portion that it was at is taken again, which changes nothing for
// what is indexed.
func (r *Reprocessor) ReprocessEntries(ctx context.Context, in ReprocessCall) (ReprocessProgress, error) {
	if in.Stream != r.Stream.Name {
		return ReprocessProgress{}, fmt.Errorf("reprocess %s: this worker reads %s", in.Stream, r.Stream.Name)
	}
	going, cancel := longcall.WithWorkerStop(ctx)
	defer cancel()
	longcall.Resume(ctx, &in.Progress)
	call := longcall.Within(going, context.WithoutCancel(ctx))
	defer call.Abandon()
	c := newReprocessing(r, in, call)
	defer longcall.Heartbeat(ctx, func() any { return c.live() })()
	if err := c.run(); err != nil && !errors.Is(err, longcall.ErrStopped) {
		return c.live(), err
	}
	c.progress.Waiting = 0
	c.tell()
	return c.live(), nil
}

// reprocessing is one call of ReprocessEntries.
type reprocessing struct {
	*Reprocessor
	in     ReprocessCall
	call   *longcall.Call
	due    time.Time
	holder ledger.Holder

	progress ReprocessProgress // as it is after the last portion
	told     longcall.Guarded[ReprocessProgress]
	bulk     longcall.Guarded[*longcall.Call] // what is indexed directly at this moment

	// known are the keys that were in the ledger before anything was ingested
	// again, and those that were looked at since.
	known map[string]bool

	readingGiven sync.Mutex
	given        map[string]given // by shard: what was given up
}

func newReprocessing(r *Reprocessor, in ReprocessCall, call *longcall.Call) *reprocessing {
	c := &reprocessing{
		Reprocessor: r, in: in, call: call, due: time.Now().Add(in.For),
		holder: ledger.Holder{By: deadletter.Source(call.Work), Run: in.Run}, progress: in.Progress, known: map[string]bool{}, given: map[string]given{},
	}
	c.progress.Worker, c.progress.Waiting, c.progress.LastError = r.Worker, 0, ""
	c.tell()
	return c
}

// tell brings up to date what the call says of itself.
func (c *reprocessing) tell() { c.told.Set(c.progress) }

// live is what the call says of itself, with the problem of this moment.
func (c *reprocessing) live() ReprocessProgress {
	told := c.told.Get()
	problem := &c.call.Stall
	if s := c.bulk.Get(); s != nil {
		problem = &s.Stall
	}
	if since, last := problem.State(); !since.IsZero() {
		told.LastError = last
	}
	return told
}

func (c *reprocessing) run() error {
	if c.progress.Portion == 0 {
		c.progress.Portion = firstPortion
	}
	if c.in.Mode == ModeIngest && !c.in.DryRun {
		if err := c.learnKeys(); err != nil {
			return err
		}
	}
	g := newGatherer(c)
	defer g.stop()
	for time.Now().Before(c.due) && c.call.Going.Err() == nil {
		p, err := g.next()
		if err != nil {
			return err
		}
		if p == nil {
			c.progress.Done = true
			return nil
		}
		if c.in.DryRun {
			err = c.survey(p)
		} else {
			err = c.reprocess(p)
		}
		if err != nil || c.progress.Stopped != "" {
			return err
		}
		c.progress.Cursor = p.last
		c.tell()
	}
	return nil
}

// reprocess takes a portion to its end, slice by slice.
func (c *reprocessing) reprocess(p *portion) error {
	if err := c.enter(p); err != nil {
		return err
	}
	if err := c.conclude(p); err != nil { // what is known before anything is done
		return err
	}
	todo := p.spots()
	for len(todo) > 0 {
		n := c.slice(todo)
		slice := todo[:n]
		todo = todo[n:]
		var ended error
		var bad bool
		if c.in.Mode == ModeDirect {
			ended = c.direct(slice)
		} else {
			bad, ended = c.ingest(slice)
		}
		// Interrupted work is entered, too: it need not be done again.
		if err := c.conclude(p); err != nil {
			return err
		}
		c.tell()
		if ended != nil {
			return ended
		}
		if bad {
			c.progress.Stopped = mostRefused
		}
		if c.progress.Stopped != "" {
			return nil
		}
	}
	for _, i := range p.items {
		c.progress.Counts.Entries++
		c.countLost(i)
	}
	return nil
}

// mostRefused is why reprocessing stops before it opens the circuit of a shard.
const mostRefused = "most of what was ingested again was not indexed: mend the cause first, or select by error, or index directly"

// slice is how many of some records are taken together.
func (c *reprocessing) slice(spots []spot) int {
	most, bytes := c.progress.Portion, portionBytes
	if c.in.Mode == ModeDirect {
		most, bytes = c.BulkRecords, c.Indexer.Limiter.State().BulkBytes
	}
	n, size := 0, 0
	for n < min(most, len(spots)) && (n == 0 || size+len(spots[n].record().Data) <= bytes) {
		size += len(spots[n].record().Data)
		n++
	}
	return n
}

// countLost enters the records of an entry that are found nowhere.
func (c *reprocessing) countLost(i *item) {
	if i.lost == 0 {
		return
	}
	c.progress.Counts.Unrecoverable += int64(i.lost)
	c.progress.Counts.Records += int64(i.lost)
	if len(c.progress.Unrecoverable) < mostUnrecoverable {
		c.progress.Unrecoverable = append(slices.Clone(c.progress.Unrecoverable), i.key)
	}
}

// survey counts what would be taken.
func (c *reprocessing) survey(p *portion) error {
	began := time.Now()
	found, _, err := c.find(p.spots())
	if err != nil {
		return err
	}
	counts := &c.progress.Counts
	counts.Already += int64(len(found))
	c.progress.Errors = slices.Clone(c.progress.Errors)
	for _, i := range p.items {
		counts.Entries++
		counts.Records += int64(len(i.at))
		for _, at := range i.at {
			counts.Bytes += int64(len(i.entry.Records[at].Data))
			c.progress.Errors.Add(shown(i.entry.Records[at].Error), 1, i.key, i.entry.At)
		}
		c.countLost(i)
		if i.lost > 0 && i.entry.Cause != nil {
			c.progress.Errors.Add(shown(*i.entry.Cause), i.lost, i.key, i.entry.At)
		}
	}
	// An entry is read now; then it is marked, and moved, which is three more
	// calls; and what goes through the stream has to come out of it.
	c.progress.Seconds += 4 * (p.took + time.Since(began)).Seconds()
	if c.in.Mode == ModeIngest && len(p.items) > 0 {
		c.progress.Seconds += 2 * settlePause.Seconds()
	}
	return nil
}

// shown is an error as histories may have it.
func shown(e outcome.Error) outcome.Error {
	without := outcome.Error{Type: e.Type, Reason: e.Reason}.Redacted()
	return outcome.Error{Type: without.Type, Reason: without.Reason}
}
