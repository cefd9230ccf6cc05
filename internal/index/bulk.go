package index

import (
	"time"

	"millrace/internal/telemetry"
)

// Bulk is the body of one _bulk request: NDJSON, an action and a document for
// each record. It keeps its memory over Reset. It is not safe for concurrent
// use.
type Bulk struct {
	body []byte
	ends []int // where each operation ends in body
}

const (
	actionIndex = `{"create":{"_index":"`
	actionID    = `","_id":"`
	actionEnd   = "\"}}\n{\"indexed_at\":\""
	documentSep = `",`
)

// Add appends the operation that creates a record's document. indexedAt is
// when the bulk is sent, or close to it. The record is copied.
func (b *Bulk) Add(r telemetry.Record, indexedAt time.Time) {
	b.body = append(b.body, actionIndex...)
	b.body = append(b.body, r.Index...)
	b.body = append(b.body, actionID...)
	b.body = append(b.body, r.DocIDText...)
	b.body = append(b.body, actionEnd...)
	b.body = indexedAt.UTC().AppendFormat(b.body, telemetry.ReceivedAtLayout)
	b.body = append(b.body, documentSep...)
	b.body = append(b.body, r.Document...)
	b.body = append(b.body, '\n')
	b.ends = append(b.ends, len(b.body))
}

// AddFrom appends one operation of another bulk: what is sent again, or one
// part of a bulk that was too large.
func (b *Bulk) AddFrom(other *Bulk, position int) {
	from := 0
	if position > 0 {
		from = other.ends[position-1]
	}
	b.body = append(b.body, other.body[from:other.ends[position]]...)
	b.ends = append(b.ends, len(b.body))
}

// Len is the number of documents.
func (b *Bulk) Len() int { return len(b.ends) }

// Size is the length of the body in bytes.
func (b *Bulk) Size() int { return len(b.body) }

// Reset empties the bulk and keeps its memory.
func (b *Bulk) Reset() { b.body, b.ends = b.body[:0], b.ends[:0] }
