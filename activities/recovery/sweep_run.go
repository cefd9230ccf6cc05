package recovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

const (
	// sweepsAhead is how many chunks of a call are under way together when a
	// rate is given.
	sweepsAhead = 4
	// sweepRecords and sweepBytes bound a chunk.
	sweepRecords, sweepBytes = 2000, 2 << 20
)

// opening is what a sweep may have to wait for, as operators read it.
const (
	opening   = "read the backup"
	lookingUp = "look up documents"
	reporting = "write the report"
)

// sweep is one call of SweepObjects.
//
//	read ──chunks──> settle, some at a time ──> apply, in order
type sweep struct {
	sweeper   *Sweeper
	call      *longcall.Call
	run       *indexing.Run
	ctx       context.Context // ends when no more chunks are to be read
	in        SweepInput
	plan      Plan
	page      []Listed
	documents SweptDocuments
	pace      *rate.Limiter // nil: it gives way to live traffic, see Pace
	queue     chan *sweepChunk
	parser    telemetry.Parser // belongs to who reads

	mu   sync.Mutex
	done SweepProgress

	deleted *snapshot.Deleted
	dead    *deadletter.Open
	// searched is how many objects were read to explain what documents say.
	searched atomic.Int64
	keptUp   time.Time // when the shards were seen to; belongs to who reads
}

// sweepChunk is a stretch of one object.
type sweepChunk struct {
	indexing.Chunk
	object int
	lines  []backup.Line // of its records
	bytes  int           // that its records keep in memory: see indexing.Memory
	read   int           // records of the object that end with it, wanted or not
	last   bool          // it is the object's end
	damage error
	gone   bool // there is no such object

	settled chan struct{}
	ok      bool // false: it was stopped before
	// Records that are not in the chunk any more: their documents are there, or
	// they are in the ledger.
	present, deadBefore int64
	put                 int64 // into the stream
	missing             []Gap
	compared            SweepCounts // only of what was compared
	unlike              []unlike    // that are to be explained
	gaps                []Gap       // that are there, and say what nothing explains
}

// sweepChunks are the memory of chunks that are applied, for all sweeps of the worker.
var sweepChunks = sync.Pool{New: func() any { return &sweepChunk{} }}

// newChunk is a chunk of an object, so far without records.
func newChunk(object int) *sweepChunk {
	c := sweepChunks.Get().(*sweepChunk)
	c.object = object
	return c
}

// release gives the memory of a chunk back.
func (c *sweepChunk) release() {
	c.Reset()
	clear(c.lines)
	*c = sweepChunk{Chunk: c.Chunk, lines: c.lines[:0]}
	sweepChunks.Put(c)
}

func newSweep(ctx, going context.Context, s *Sweeper, in SweepInput, plan Plan, page []Listed, from SweepProgress) *sweep {
	documents := &timed{SweptDocuments: s.Documents}
	indexer := indexing.New(indexing.Settings{Bulk: documents, Lookup: documents, Limiter: s.Limiter})
	call := longcall.Begin(ctx)
	sweep := &sweep{
		sweeper: s, call: call, run: indexer.Begin(call, "", limiter.Recovery), ctx: going, in: in, plan: plan, page: page,
		queue: make(chan *sweepChunk, 1), done: from, documents: documents,
		deleted: snapshot.NewDeleted(s.Bucket), dead: deadletter.NewOpen(s.Ledger, s.Stream),
	}
	documents.sweep = sweep
	if in.Rate > 0 {
		sweep.queue = make(chan *sweepChunk, sweepsAhead-1)
		sweep.pace = rate.NewLimiter(rate.Limit(in.Rate), max(1, min(sweepRecords, int(in.Rate))))
	}
	return sweep
}

// sweep reads, settles and applies until there is an end.
func (s *sweep) sweep() {
	defer s.call.StopWith(s.ctx)()
	go func() {
		defer close(s.queue)
		s.readAll()
	}()
	for c := range s.queue {
		<-c.settled
		if !c.ok || !s.apply(c) {
			s.call.Stop(longcall.ErrStopped)
			break
		}
		c.release()
	}
	for range s.queue { // what was read ahead is read again
	}
}

// readAll reads the rest of the page.
func (s *sweep) readAll() {
	s.mu.Lock()
	part := s.done.Part
	s.mu.Unlock()
	for object := part.Object; object < len(s.page); object++ {
		if !s.rest() || !s.readObject(object, part.Record) {
			return
		}
		part.Record = 0
	}
}

// readObject reads one object, behind its first records, and hands its chunks
// over; false if it was stopped. A connection that breaks is opened again where
// it was.
func (s *sweep) readObject(object, skip int) bool {
	var ended bool
	read := func() (err error) {
		defer longcall.CatchPanic(&err)
		from, err := s.sweeper.recordsOf(s.call.Going, s.plan, s.page[object])
		if errors.Is(err, archive.ErrNotFound) {
			ended = s.pass(&sweepChunk{object: object, read: skip, last: true, gone: true})
			return nil
		}
		if err != nil {
			return err
		}
		defer from.Close()
		ended, err = s.cutObject(from, object, &skip)
		return err
	}
	return s.call.Retry(opening, read) && ended
}

// cutObject cuts an object into chunks. skip is how many of its records are
// handed over.
func (s *sweep) cutObject(from reader, object int, skip *int) (ended bool, err error) {
	most, c := s.bulkRecords(), newChunk(object)
	for at := 0; ; at++ {
		line, wanted, err := from.Next()
		var damage *backup.DamageError
		switch {
		case errors.Is(err, io.EOF), errors.As(err, &damage):
			c.read, c.last = max(at, *skip), true
			if damage != nil {
				c.damage = damage
			}
			return s.pass(c), nil
		case err != nil:
			return false, err
		}
		if at < *skip {
			continue
		}
		if len(c.Records) == most || c.bytes > sweepBytes {
			c.read = at
			if !s.pass(c) || !s.rest() {
				return false, nil
			}
			*skip, most, c = at, s.bulkRecords(), newChunk(object)
		}
		if !wanted || !s.chooses(line) {
			if c.read = at + 1; s.call.Going.Err() != nil {
				return false, nil
			}
			continue
		}
		record := stream.Record{Sequence: line.Sequence, Arrived: line.Arrived, Data: line.Data}
		c.Records, c.lines, c.bytes = append(c.Records, record), append(c.lines, line), c.bytes+indexing.Memory(record)
	}
}

func (s *sweep) bulkRecords() int {
	if s.pace == nil {
		return s.state().Pace.records()
	}
	return min(sweepRecords, s.pace.Burst())
}

// chooses reports whether the plan wants a record, beside its window.
func (s *sweep) chooses(line backup.Line) bool {
	if s.plan.Tenant != "" && telemetry.ParseFields(line.Data).Tenant != s.plan.Tenant {
		return false
	}
	record, err := s.parser.Parse(line.Data)
	if err != nil {
		return len(s.plan.Indices) == 0 && s.plan.Tenant == "" // a dead letter, when everything is wanted
	}
	if telemetry.IsCanary(record.Index) { // deleted after a day, on purpose
		return false
	}
	return matches(s.plan.Indices, string(record.Index)) && (s.plan.Suffix != "" || !s.isDeleted(record, line.Arrived))
}

// pass has a chunk settled, at its pace and in its turn.
func (s *sweep) pass(c *sweepChunk) bool {
	c.settled, c.Suffix = make(chan struct{}), s.plan.Suffix
	if s.pace != nil && len(c.Records) > 0 && s.pace.WaitN(s.call.Going, len(c.Records)) != nil || !s.keepUp() {
		return false
	}
	select {
	case s.queue <- c:
	case <-s.call.Going.Done():
		return false
	}
	work := func() bool {
		defer close(c.settled) // then it may be applied, and its memory used again
		c.ok = s.processChunk(c)
		return c.ok
	}
	if s.pace != nil {
		go work()
		return true
	}
	return work()
}

// processChunk ensures that each record of a chunk is indexed, or in the
// ledger, or known to be missing.
func (s *sweep) processChunk(c *sweepChunk) bool {
	if s.in.Stage == SweepVerify && !s.dropPresent(c) {
		return false
	}
	if len(c.Records) == 0 {
		return true
	}
	if s.replays() {
		return s.putChunk(c) && s.giveUp(c)
	}
	if s.run.Isolate(&c.Chunk) != nil {
		return false
	}
	if !s.giveUp(c) {
		return false
	}
	return s.in.Stage != SweepVerify || s.checkAgain(c)
}

// apply enters what became of a chunk; false if it was stopped.
func (s *sweep) apply(c *sweepChunk) bool {
	s.mu.Lock()
	line := &s.done.Part.Line
	add := SweepCounts{
		Records: int64(len(c.Records)) + c.present + c.deadBefore, Indexed: c.Counts.Indexed - int64(len(c.missing)), Put: c.put,
		Duplicates: c.Counts.Earlier() + c.present, Dead: int64(len(c.Dead)) + c.deadBefore, Missing: int64(len(c.missing) + len(c.gaps)),
	}
	add.Compared, add.Unchecked, add.Different = c.compared.Compared, c.compared.Unchecked, c.compared.Different
	line.Records, line.Indexed, line.Duplicates = line.Records+add.Records, line.Indexed+add.Indexed, line.Duplicates+add.Duplicates
	line.Put, line.Dead, line.Missing = line.Put+add.Put, line.Dead+add.Dead, line.Missing+add.Missing
	gaps := append(c.missing, c.gaps...)
	s.done.Part.Record = c.read
	if c.last {
		gaps = append(gaps, s.endObject(c, line, &add)...)
	}
	s.done.Counts.Add(add)
	s.done.Missing = append(s.done.Missing, gaps[:min(len(gaps), mostGaps-min(len(s.done.Missing), mostGaps))]...)
	full := len(s.done.Lines) >= linesAtOnce
	s.mu.Unlock()
	sweptRecords.WithLabelValues(s.in.Stage).Add(float64(add.Records))
	if len(gaps) > 0 && !s.writeGaps(c, gaps) {
		return false
	}
	return !full || s.report()
}

// endObject completes the line of an object.
func (s *sweep) endObject(c *sweepChunk, line *ReportLine, add *SweepCounts) (gaps []Gap) {
	source := s.page[c.object]
	line.Object, line.At, line.Outcome = source.Key, c.object, OutcomeSucceeded
	switch {
	case c.gone:
		line.Outcome, line.Error = OutcomeMissing, "there is no such object any more"
	case c.damage != nil:
		line.Outcome, line.Error = OutcomeDamaged, c.damage.Error()
	}
	if line.Error != "" {
		add.Damaged++
		// Verify lists anew, and does not know of what was gone by then. Nothing
		// verifies a replay.
		if s.in.Stage == SweepVerify || s.plan.Replay || c.gone && !strings.HasPrefix(source.Key, ledgerPrefix) {
			gap := Gap{Object: source.Key, Records: s.lost(source, c.read), Reason: line.Error}
			if gap.Records != 0 {
				add.Missing += max(gap.Records, 1)
				gaps = append(gaps, gap)
			}
		}
		slog.Warn("an object of the backup is not whole", "key", source.Key, "records", c.read, "error", line.Error)
	}
	add.Objects, add.Bytes = 1, source.Size
	s.done.Lines = append(s.done.Lines, *line)
	s.done.Part.Object, s.done.Part.Record, s.done.Part.Line = c.object+1, 0, ReportLine{}
	s.done.Done = s.done.Part.Object == len(s.page)
	return gaps
}

// lost is how many records of a damaged object could not be read, by its own
// word; -1 if it does not say.
func (s *sweep) lost(source Listed, read int) int64 {
	text, err := s.sweeper.Backups.Meta(s.call.Work, source.Key)
	if err != nil {
		return -1
	}
	meta, err := backup.ParseMeta(text)
	if err != nil {
		return -1
	}
	return max(0, int64(meta.Count-read))
}

// report writes the lines of the objects that are done.
func (s *sweep) report() bool {
	s.mu.Lock()
	lines := slices.Clone(s.done.Lines)
	s.mu.Unlock()
	if len(lines) == 0 {
		return true
	}
	key := fmt.Sprintf("%s%s/report/%06d-%04d.ndjson", s.in.Papers, s.in.Stage, s.in.Part.Page, lines[0].At)
	if !s.write(key, encodeLines(lines)) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.Lines = nil
	return true
}

// writeGaps writes down what is missing, object by object.
func (s *sweep) writeGaps(c *sweepChunk, gaps []Gap) bool {
	return s.write(fmt.Sprintf("%s%s/missing/%06d-%04d-%08d.ndjson", s.in.Papers, s.in.Stage, s.in.Part.Page, c.object, c.read), encodeLines(gaps))
}

func (s *sweep) write(key string, body []byte) bool {
	put := func() error { return s.sweeper.Bucket.Put(s.call.Work, key, body) }
	return s.call.Finish(reporting, put)
}

func encodeLines[T any](lines []T) []byte {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	for _, line := range lines {
		_ = encoder.Encode(line) // of strings and numbers
	}
	return body.Bytes()
}

// conclude writes the rest of the report. It has a while, also when the worker
// stops.
func (s *sweep) conclude() error {
	defer time.AfterFunc(longcall.DefaultDrain, s.call.Abandon).Stop()
	if !s.report() {
		return fmt.Errorf("write the report of the sweep: %w", longcall.ErrStopped)
	}
	return nil
}

func (s *sweep) state() SweepProgress {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, last := s.call.Stall.State()
	progress := s.done
	progress.Lines, progress.LastError = slices.Clone(s.done.Lines), last
	return progress
}
