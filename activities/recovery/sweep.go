package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Bucket is where ledger and the papers of a recovery are. See archive.Bucket.
type Bucket interface {
	backup.Objects
	Get(ctx context.Context, key string) ([]byte, error)
	Put(ctx context.Context, key string, body []byte) error
	Delete(ctx context.Context, key string) error
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// SweptDocuments is Elasticsearch, as a sweep sees it. See index.Client.
type SweptDocuments interface {
	sink.Bulker
	sink.Lookup
	Origins
}

// Sweeper is what the activities of Recover and Replay need to go through a
// list of objects.
type Sweeper struct {
	Stream      telemetry.StreamID
	Bucket      Bucket
	Backups     backup.Described // the bucket of the backup
	Documents   SweptDocuments
	Limiter     *limiter.Limiter // shared with live traffic, which goes first
	Ledger      *ledger.Ledger
	DeadLetters DeadLetters
	Replayer    Replayer
	Shards      StreamShards
	Workflows   StreamWorkflows // that process the stream
	Worker      string
}

// Replayer puts records into the stream that were in it before. See
// stream.Stream.
type Replayer interface {
	Replay(ctx context.Context, records [][]byte) []stream.Rejection
}

// DeadLetters takes what the sink refuses of a backup. See deadletter.Writer.
type DeadLetters interface {
	WriteSwept(ctx context.Context, batch string, dead []deadletter.Swept) error
}

// What a sweep does with the records of the objects.
const (
	SweepBackfill = "backfill" // index all of them
	SweepVerify   = "verify"   // look each up, and index those that are missing
)

// Part is a position in the frozen list.
type Part struct {
	Page   int `json:"page"`
	Object int `json:"object"` // in the page
	Record int `json:"record"` // in the object
	// Line is what has become of the object's records up to there.
	Line ReportLine `json:"line,omitzero"`
}

// SweepInput is a part of the list to go through, and for how long.
type SweepInput struct {
	Papers string        `json:"papers"` // prefix of the recovery's papers in the bucket
	Stage  string        `json:"stage"`  // SweepBackfill or SweepVerify
	Part   Part          `json:"part"`
	Rate   float64       `json:"rate,omitempty"` // records a second; zero: as many as live traffic does not feel
	Pace   YieldPolicy   `json:"pace,omitzero"`  // where the last call came to
	For    time.Duration `json:"for"`
}

// SweepCounts say what became of the records of objects.
type SweepCounts struct {
	Objects    int64 `json:"objects"`
	Damaged    int64 `json:"damaged"` // objects, of which only the good prefix was read
	Bytes      int64 `json:"bytes"`   // of the objects
	Records    int64 `json:"records"` // wanted
	Indexed    int64 `json:"indexed"`
	Put        int64 `json:"put,omitempty"` // into the stream
	Duplicates int64 `json:"duplicates"`    // were there
	Dead       int64 `json:"deadLetters"`
	Missing    int64 `json:"missing"` // neither
	// Of those that were looked up: Compared are held against what their documents
	// say by the digests of both; Unchecked cannot be, since one of them is of before
	// there were digests. Different are those compared that say something else.
	Compared  int64 `json:"compared,omitempty"`
	Unchecked int64 `json:"unchecked,omitempty"`
	Different int64 `json:"different,omitempty"`
}

// Add adds the counts of what came next.
func (c *SweepCounts) Add(o SweepCounts) {
	c.Objects += o.Objects
	c.Damaged += o.Damaged
	c.Bytes += o.Bytes
	c.Records += o.Records
	c.Indexed += o.Indexed
	c.Put += o.Put
	c.Duplicates += o.Duplicates
	c.Dead += o.Dead
	c.Missing += o.Missing
	c.Compared += o.Compared
	c.Unchecked += o.Unchecked
	c.Different += o.Different
}

// SweepProgress is how far a call is: its result, and on the way there the
// details of its heartbeat, from which its retry goes on.
type SweepProgress struct {
	Stage     string       `json:"stage"`
	Part      Part         `json:"part"`
	Done      bool         `json:"done,omitempty"` // with the page
	Counts    SweepCounts  `json:"counts"`         // since the call began
	Lines     []ReportLine `json:"lines,omitempty"`
	Missing   []Gap        `json:"missing,omitempty"` // the first of them
	Pace      YieldPolicy  `json:"pace,omitzero"`
	Worker    string       `json:"worker"`
	LastError string       `json:"lastError,omitempty"`
}

// ReportLine is what became of an object.
type ReportLine struct {
	Object     string `json:"object,omitempty"`
	Records    int64  `json:"records"`
	Indexed    int64  `json:"indexed"`
	Put        int64  `json:"put,omitempty"`
	Duplicates int64  `json:"duplicates"`
	Dead       int64  `json:"deadLetters,omitempty"`
	Missing    int64  `json:"missing,omitempty"`
	Outcome    string `json:"outcome,omitempty"` // succeeded, damaged or missing
	Error      string `json:"error,omitempty"`
	At         int    `json:"at"` // in its page
}

// Outcomes of objects.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeDamaged   = "damaged" // the good prefix was read
	OutcomeMissing   = "missing" // there is no such object any more
)

// Gap is what a sweep could not bring back.
type Gap struct {
	Object   string `json:"object"`
	Shard    string `json:"shard,omitempty"`
	Sequence string `json:"sequence,omitempty"` // of a record, or behind which records are missing
	ID       string `json:"id,omitempty"`       // of the document
	Index    string `json:"index,omitempty"`
	Records  int64  `json:"records"` // how many; -1: not known
	Reason   string `json:"reason"`
}

const (
	// linesAtOnce is how many objects one file of the report is about: their
	// lines are in heartbeats until it is written.
	linesAtOnce = 50
	// mostGaps is how many gaps a call names. All are in the report.
	mostGaps = 20
)

// SweepObjects goes through a part of the list until its page is done, its time
// is over, the worker stops, or it is canceled, which is how a sweep is paused.
// Each time it ends well, with how far it has come.
func (s *Sweeper) SweepObjects(ctx context.Context, in SweepInput) (SweepProgress, error) {
	plan, err := readPlan(ctx, s.Bucket, in.Papers)
	if err != nil {
		return SweepProgress{}, err
	}
	page, err := readPage(ctx, s.Bucket, in.Papers, in.Stage, in.Part.Page)
	if err != nil {
		return SweepProgress{}, err
	}
	going, cancel := longcall.WithWorkerStop(ctx)
	defer cancel()
	going, cancelDue := context.WithTimeout(going, in.For)
	defer cancelDue()
	progress := SweepProgress{Stage: in.Stage, Part: in.Part, Pace: in.Pace.from(plan), Worker: s.Worker}
	var last SweepProgress
	if longcall.Resume(ctx, &last) && last.Part.Page == in.Part.Page {
		progress = last
	}
	call := newSweep(ctx, going, s, in, plan, page, progress)
	defer call.call.Abandon()
	defer underWay.begin(in.Stage, &call.call.Stall)()
	defer longcall.Heartbeat(ctx, func() any { return call.state() })()
	defer call.watchLive()()
	call.sweep()
	if err := call.conclude(); err != nil {
		return SweepProgress{}, err
	}
	result := call.state()
	result.Lines = nil
	return result, nil
}

// listKey is where a page of a list stands.
func listKey(papers, stage string, page int) string {
	return fmt.Sprintf("%s%s/list/%06d.json", papers, stage, page)
}

func readPage(ctx context.Context, bucket Bucket, papers, stage string, page int) (sources []Listed, err error) {
	text, err := bucket.Get(ctx, listKey(papers, stage, page))
	if err == nil {
		err = json.Unmarshal(text, &sources)
	}
	if err != nil {
		return nil, fmt.Errorf("read page %d of the list of objects: %w", page, err)
	}
	return sources, nil
}

// Listed is an object to be read, by its key in its bucket: of the backup, or a
// ledger entry.
type Listed struct {
	Key  string `json:"key"`
	Size int64  `json:"size"`
	// Whole: all its records are wanted, also those outside of the window.
	Whole bool `json:"whole,omitempty"`
}

// recordsOf opens a source. The error is archive.ErrNotFound where it is gone.
func (s *Sweeper) recordsOf(ctx context.Context, plan Plan, source Listed) (reader, error) {
	if strings.HasPrefix(source.Key, ledgerPrefix) {
		entry, err := s.Ledger.Get(ctx, source.Key)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, archive.ErrNotFound
		}
		if err != nil {
			return nil, err
		}
		return &entryReader{entry: entry, window: plan.Window}, nil
	}
	key, below := strings.CutPrefix(source.Key, plan.Prefix)
	if !below {
		return nil, fmt.Errorf("read %s: it is not below %s", source.Key, plan.Prefix)
	}
	object, err := backup.OpenObject(ctx, s.Backups, source.Key)
	if err != nil {
		return nil, err
	}
	if source.Whole {
		return &objectReader{object, func(backup.Line) bool { return true }}, nil
	}
	return &objectReader{object, plan.Window.Of(key)}, nil
}

const ledgerPrefix = "ledger/"

// reader reads the records of a source, those that are wanted and those that
// are not, to io.EOF or a *backup.DamageError.
type reader interface {
	Next() (line backup.Line, wanted bool, err error)
	Close()
}

type objectReader struct {
	*backup.Reader
	wants func(backup.Line) bool
}

// Next implements reader.
func (r *objectReader) Next() (backup.Line, bool, error) {
	line, err := r.Reader.Next()
	return line, err == nil && r.wants(line), err
}

// entryReader reads the records of a ledger entry. Wanted are those that were
// indexed from there, and in time.
type entryReader struct {
	entry  ledger.Entry
	window backup.Window
	at     int
}

// Next implements reader.
func (r *entryReader) Next() (backup.Line, bool, error) {
	if r.at == len(r.entry.Records) {
		return backup.Line{}, false, io.EOF
	}
	record := r.entry.Records[r.at]
	r.at++
	line := backup.Line{Shard: r.entry.Range.Shard, Record: backup.Record{Sequence: record.Sequence, Arrived: record.Arrived, Data: record.Data}}
	return line, r.entry.IsIndexed(record) && r.inTime(record), nil
}

// inTime reports whether a record arrived in the time that is asked for, where that
// alone decides: by the collector's clock if it never was in the stream.
func (r *entryReader) inTime(record ledger.Record) bool {
	if r.window.Shards != nil {
		return true
	}
	at := record.Arrived
	if at.IsZero() {
		if parsed, err := telemetry.Parse(record.Data); err == nil {
			at = parsed.ReceivedAt
		}
	}
	return at.IsZero() || r.window.Covers(at)
}

// Close implements reader.
func (*entryReader) Close() {}
