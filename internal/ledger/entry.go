package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"time"

	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// Kind says what an entry is about.
type Kind string

// The kinds of entries.
const (
	Bulk   Kind = "bulk"   // records of a range that were not indexed
	Ingest Kind = "ingest" // records that the stream will never take
	Parked Kind = "parked" // records whose index alone is out of service: see Entry.Index
	Loss   Kind = "loss"   // a range that was trimmed before it was read: no payload
)

// Entry is one object of the ledger.
type Entry struct {
	Kind Kind `json:"kind"`
	// Range has neighbouring records of a shard: two entries of one range are
	// about the same records. Ingest has none.
	Range telemetry.Range `json:"range,omitzero"`
	// Sparse: between the records lie others, so the range says only where they
	// are, and the sequence numbers of the records which they are.
	Sparse bool `json:"sparse,omitempty"`
	// Index is the one that Parked records wait for.
	Index string `json:"index,omitempty"`
	// Batch and Position say where the first of Ingest's records was.
	Batch    string    `json:"batch,omitempty"`
	Position int       `json:"position,omitempty"`
	Source   string    `json:"source,omitempty"` // who wrote it: a workflow's id
	At       time.Time `json:"at"`
	Records  []Record  `json:"records"`
	// Cause is why there are no records.
	Cause *outcome.Error `json:"cause,omitempty"`
	// Held names who is still at work on the records: the entry is a copy, in
	// case that takes longer than the stream keeps them.
	Held *Holder `json:"held,omitempty"`
	// Reprocessing is the last attempt to bring the records home. It is entered
	// before that begins.
	Reprocessing *Reprocessing `json:"reprocessing,omitempty"`
	// Resolution is nil while the entry is open.
	Resolution *Resolution `json:"resolution,omitempty"`
}

// Record is one record of an entry: what people search for, why it is here,
// and all of it.
type Record struct {
	DocID    string        `json:"doc_id"`
	Tenant   string        `json:"tenant"`
	Index    string        `json:"index"`
	ID       string        `json:"id"`
	Type     string        `json:"type"`
	Sequence string        `json:"sequence,omitempty"`
	Arrived  time.Time     `json:"arrived,omitzero"` // in the stream
	Error    outcome.Error `json:"error"`
	// First is the error that it came with, once Error is a later one.
	First *outcome.Error `json:"first_error,omitempty"`
	// Ended is how it ended well, while others of the entry have not.
	Ended string `json:"ended,omitempty"`
	Data  []byte `json:"data"` // the stream record, in base64
}

// Refuse enters that the record was refused again.
func (r *Record) Refuse(cause outcome.Error) {
	if r.First == nil {
		first := r.Error
		r.First = &first
	}
	r.Error = cause
}

// Holder is a run of a workflow that is at work on an entry's records.
type Holder struct {
	By  string `json:"by"`  // its id
	Run string `json:"run"` // tells it from a later one of that id
}

// Reprocessing is an attempt to bring an entry's records home.
type Reprocessing struct {
	Holder
	Mode string    `json:"mode"`
	At   time.Time `json:"at"`
	// Replaces is the key of the entry from which the records were ingested
	// again, to be refused and end in this one.
	Replaces string `json:"replaces,omitempty"`
	// Error is why the entry is still open, where that is not the error of a
	// record.
	Error *outcome.Error `json:"error,omitempty"`
}

// NewRecord makes the record of an entry from a stream record, which need not
// be one of ours.
func NewRecord(data []byte, cause outcome.Error) Record {
	f := telemetry.ParseFields(data)
	return Record{DocID: f.DocID, Tenant: f.Tenant, Index: f.Index, ID: f.ID, Type: f.Type, Error: cause, Data: data}
}

// Resolution says what became of an entry.
type Resolution struct {
	How  string    `json:"how"`            // such as indexed, discarded
	By   string    `json:"by,omitempty"`   // an operator, or a workflow's id
	Note string    `json:"note,omitempty"` // for operators
	At   time.Time `json:"at"`
}

// How an entry is resolved.
const (
	HowIndexed    = "indexed"
	HowSuperseded = "superseded" // some of its records were refused again: another entry has them
	// HowReleased is how a copy is resolved: its ProcessBatch has ended, and each of
	// its records is indexed, or in an entry of its own.
	HowReleased = "released"
)

// How a record of an entry ends well: Record.Ended.
const (
	EndedIndexed        = "indexed"
	EndedIndexedBefore  = "indexed before"
	EndedReplacedPrefix = "replaced by " // and the key of the entry that has it now
)

// IsIndexed reports whether a record of the entry was indexed from there. One that was
// refused again, or given up, is in no index. One that a ProcessBatch held may have
// been indexed by it: those that it gave up are in open entries.
func (e Entry) IsIndexed(r Record) bool {
	return e.Resolution != nil && (e.Resolution.How == HowIndexed || e.Resolution.How == HowReleased) ||
		r.Ended == EndedIndexed || r.Ended == EndedIndexedBefore
}

// Places of entries. The audit and operators' tools know them, too.
const (
	open     = "ledger/open/"
	done     = "ledger/done/"
	ingest   = "ingest"
	lossMark = "loss-"
	copyMark = "copy-"
	manyMark = "many-"
	parkMark = "parked-"
	suffix   = ".json"
)

// place is the key of an entry behind open/ or done/. stream is for entries
// whose range does not name one.
func (e Entry) place(stream string) string {
	if e.Kind == Ingest {
		batch := segment(strings.TrimPrefix(e.Batch, ingest+"/")) // it may be a workflow's id
		return fmt.Sprintf("%s/%s/%s-%d-%s%s", segment(stream), ingest, batch, e.Position, e.fingerprint(), suffix)
	}
	r := e.Range
	if name := streamName(r.StreamARN); name != "" {
		stream = name
	}
	mark, created, which := "", "", ""
	switch {
	case e.Kind == Loss:
		mark = lossMark // it must not stand in the way of the records, should they turn up
	case e.Kind == Parked:
		mark, which = parkMark, "."+e.positionsHash()+"."+segment(e.Index)
	case e.Sparse:
		// Nor may it stand for what lies between its records. The same range may
		// have others, so the key says which.
		mark, which = manyMark, "."+e.positionsHash()
	case e.Held != nil:
		// Nor may a copy stand in the way of what its holder gives up, or of a
		// later holder's copy.
		mark, which = copyMark, "."+segment(e.Held.Run)
	}
	if !r.StreamCreated.IsZero() || e.Kind == Parked { // numbers may come again in a later stream of the same name
		created = "." + stamp(r.StreamCreated)
	}
	return path.Join(segment(stream), segment(r.Shard)) + "/" + mark + segment(r.First) + "-" + segment(r.Last) + created + which + suffix
}

// fingerprint is a short hash of what the records say. A batch and a position
// are only as good as those who count: a record must not be taken for another
// one that is safe.
func (e Entry) fingerprint() string {
	hash := sha256.New()
	for _, r := range e.Records {
		_, _ = fmt.Fprintf(hash, "%d:", len(r.Data))
		_, _ = hash.Write(r.Data) // never fails
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

// positionsHash is a short hash of the positions of the records.
func (e Entry) positionsHash() string {
	hash := sha256.New()
	for _, r := range e.Records {
		_, _ = fmt.Fprintf(hash, "%s\n", r.Sequence) // never fails
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

// segment keeps to itself what came from outside: a key has its parts where
// they belong.
func segment(s string) string { return strings.ReplaceAll(s, "/", "_") }

// streamName is the last part of arn:aws:kinesis:<region>:<account>:stream/<name>.
func streamName(arn string) string {
	_, name, _ := strings.Cut(arn, ":stream/")
	return name
}
