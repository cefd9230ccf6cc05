package index

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/internal/telemetry"
)

// Bounds of one bulk.
const (
	// 2,000 records of the usual size are about 1 MiB. Measured on two cores,
	// they are indexed nine tenths as fast as 10,000, or faster, in a quarter of
	// the latency; 500 cost up to a third of the throughput. 5 MiB, eight in
	// flight, kept a server with a heap of 1 GiB collecting garbage.
	DefaultBulkDocuments = 2000
	DefaultBulkBytes     = 2 << 20

	// MaxBulkBytes is the largest body that any setting may ask for: what the
	// smaller instances of Amazon OpenSearch Service take (its quotas, 'Maximum
	// size of HTTP request payloads'). Elasticsearch takes 100 MB
	// (http.max_content_length).
	MaxBulkBytes = 10 << 20
)

// BulkLimits bound the bulks that a caller builds.
type BulkLimits struct {
	Documents int // zero for DefaultBulkDocuments
	Bytes     int // of the body; zero for DefaultBulkBytes
}

// Validate reports limits that no server would take.
func (l BulkLimits) Validate() error {
	var errs []error
	if l.Documents < 0 {
		errs = append(errs, fmt.Errorf("%d documents in a bulk: it must hold one", l.Documents))
	}
	if l.Bytes < 0 || l.Bytes > MaxBulkBytes {
		errs = append(errs, fmt.Errorf("%d bytes in a bulk: at most %d", l.Bytes, MaxBulkBytes))
	}
	return errors.Join(errs...)
}

// Fits reports whether a bulk may take another record. An empty one takes any:
// a record cannot be split.
func (l BulkLimits) Fits(b *Bulk, r telemetry.Record) bool {
	documents, bytes := l.Documents, l.Bytes
	if documents == 0 {
		documents = DefaultBulkDocuments
	}
	if bytes == 0 {
		bytes = DefaultBulkBytes
	}
	return b.Len() == 0 || b.Len() < documents && b.Size()+operationSize(r) <= bytes
}

// Bulk is the body of one _bulk request: NDJSON, an action and a document for
// each record. It keeps its memory over Reset. It is not safe for concurrent
// use.
type Bulk struct {
	body []byte
	ends []int // where each operation ends in body

	// The time of the last Add, and its text: a bulk's records share it.
	millis int64
	text   []byte
}

const (
	actionIndex = `{"create":{"_index":"`
	actionID    = `","_id":"`
	actionEnd   = "\"}}\n{\"indexed_at\":\""
	documentSep = `",`
)

// aroundOperation is what an operation has beside parts of the stream record.
const aroundOperation = len(actionIndex) + len(actionID) + len(actionEnd) + len(telemetry.ReceivedAtLayout) + len(documentSep) + len("\n")

func operationSize(r telemetry.Record) int {
	return aroundOperation + len(r.Index) + len(r.DocIDText) + len(r.Document)
}

// Grow makes room for that many records more, whose stream records have that
// many bytes in all.
func (b *Bulk) Grow(records, bytes int) {
	b.body = slices.Grow(b.body, bytes+records*aroundOperation)
	b.ends = slices.Grow(b.ends, records)
}

// Add appends the operation that creates a record's document. indexedAt is
// when the bulk is sent, or close to it. The record is copied.
func (b *Bulk) Add(r telemetry.Record, indexedAt time.Time) {
	if millis := indexedAt.UnixMilli(); millis != b.millis || b.text == nil {
		b.millis = millis
		b.text = indexedAt.UTC().AppendFormat(b.text[:0], telemetry.ReceivedAtLayout)
	}
	b.body = append(b.body, actionIndex...)
	b.body = append(b.body, r.Index...)
	b.body = append(b.body, actionID...)
	b.body = append(b.body, r.DocIDText...)
	b.body = append(b.body, actionEnd...)
	b.body = append(b.body, b.text...)
	b.body = append(b.body, documentSep...)
	b.body = append(b.body, r.Document...)
	b.body = append(b.body, '\n')
	b.ends = append(b.ends, len(b.body))
}

// AddFrom appends one operation of another bulk: what is sent again, or one
// part of a bulk that was too large. Its indexed_at stays.
func (b *Bulk) AddFrom(other *Bulk, position int) {
	b.body = append(b.body, other.operation(position)...)
	b.ends = append(b.ends, len(b.body))
}

func (b *Bulk) operation(position int) []byte {
	from := 0
	if position > 0 {
		from = b.ends[position-1]
	}
	return b.body[from:b.ends[position]]
}

// Half returns the position that cuts the bulk in two parts of about the same
// size in bytes, neither of them empty; a bulk of one has no half, and gives 1.
func (b *Bulk) Half() int {
	for i, end := range b.ends {
		if 2*end >= len(b.body) {
			return max(1, min(i+1, len(b.ends)-1))
		}
	}
	return 1
}

// Len is the number of documents.
func (b *Bulk) Len() int { return len(b.ends) }

// Size is the length of the body in bytes.
func (b *Bulk) Size() int { return len(b.body) }

// Reset empties the bulk and keeps its memory.
func (b *Bulk) Reset() { b.body, b.ends = b.body[:0], b.ends[:0] }
