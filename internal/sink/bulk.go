package sink

import (
	"slices"
	"time"

	"millrace/internal/telemetry"
)

// Bounds of one bulk.
const (
	// 8,000 records of the usual size are about 4.5 MiB. Beside bulks of 2,000,
	// measured on two cores, a backlog is drained a sixth faster: each bulk waits
	// for the disk once in every shard that it reaches. Without a backlog bulks
	// are as small as what has come meanwhile, so that delay does not suffer.
	DefaultBulkDocuments = 8000

	// MaxBulkBytes is the largest body that any setting may ask for: what the
	// smaller instances of Amazon OpenSearch Service take (its quotas, 'Maximum
	// size of HTTP request payloads'). Elasticsearch takes 100 MB
	// (http.max_content_length).
	MaxBulkBytes = 10 << 20
)

// Bulk is the body of one _bulk request: NDJSON, an action and a document for
// each record. It keeps its memory over Reset. It is not safe for concurrent
// use.
type Bulk struct {
	body []byte
	ends []int // where each operation ends in body

	indices []string // that operations name
	known   []string // names that Reset keeps, so that they are made once

	// The index of the last Add, and what an operation has before its id: most
	// records have that of the one before.
	last   string
	action []byte
	// The time of the last Add, and what an operation has behind its id, up to
	// the document's own fields: a bulk's records share it.
	millis int64
	begin  []byte
}

const (
	beforeIndex = `{"create":{"_index":"`
	afterIndex  = `","_id":"`
	beforeTime  = "\"}}\n{\"indexed_at\":\""
	afterTime   = `",`
)

// aroundOperation is what an operation has beside parts of the stream record.
const aroundOperation = len(beforeIndex) + len(afterIndex) + len(beforeTime) + len(telemetry.ReceivedAtLayout) + len(afterTime) + len("\n")

// Grow makes room for that many records more, whose stream records have that
// many bytes in all.
func (b *Bulk) Grow(records, bytes int) {
	b.body = slices.Grow(b.body, bytes+records*aroundOperation)
	b.ends = slices.Grow(b.ends, records)
}

// Add appends the operation that creates a record's document. indexedAt is
// when the bulk is sent, or close to it. The record is copied.
func (b *Bulk) Add(r telemetry.Record, indexedAt time.Time) {
	if millis := indexedAt.UnixMilli(); millis != b.millis || b.begin == nil {
		b.millis = millis
		b.begin = append(indexedAt.UTC().AppendFormat(append(b.begin[:0], beforeTime...), telemetry.ReceivedAtLayout), afterTime...)
	}
	if len(b.indices) == 0 || string(r.Index) != b.last {
		b.name(r.Index)
	}
	b.body = append(b.body, b.action...)
	b.body = append(b.body, r.DocIDText...)
	b.body = append(b.body, b.begin...)
	b.body = append(b.body, r.Document...)
	b.body = append(b.body, '\n')
	b.ends = append(b.ends, len(b.body))
}

// mostKnown bounds the names that Reset keeps.
const mostKnown = 64

// name adds an index to those that operations name, as the last one.
func (b *Bulk) name(index []byte) {
	is := func(name string) bool { return name == string(index) }
	at := slices.IndexFunc(b.known, is)
	if at < 0 {
		if len(b.known) == mostKnown {
			b.known = b.known[:0]
		}
		at, b.known = len(b.known), append(b.known, string(index))
	}
	b.last = b.known[at]
	b.action = append(append(append(b.action[:0], beforeIndex...), b.last...), afterIndex...)
	if !slices.Contains(b.indices, b.last) {
		b.indices = append(b.indices, b.last)
	}
}

// Indices are the names of the indices that the documents are for, each once.
func (b *Bulk) Indices() []string { return b.indices }

// Len is the number of documents.
func (b *Bulk) Len() int { return len(b.ends) }

// Body is the body of the request. It is lent: Reset and Add write into its memory.
func (b *Bulk) Body() []byte { return b.body }

// Size is the length of the body in bytes.
func (b *Bulk) Size() int { return len(b.body) }

// Reset empties the bulk and keeps its memory.
func (b *Bulk) Reset() { b.body, b.ends, b.indices = b.body[:0], b.ends[:0], b.indices[:0] }
