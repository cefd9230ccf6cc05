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
	b.name(r.Index)
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

// mostKnown bounds the names that Reset keeps.
const mostKnown = 64

// name adds an index to those that operations name.
func (b *Bulk) name(index []byte) {
	is := func(name string) bool { return name == string(index) }
	if slices.ContainsFunc(b.indices, is) {
		return
	}
	at := slices.IndexFunc(b.known, is)
	if at < 0 {
		if len(b.known) == mostKnown {
			b.known = b.known[:0]
		}
		at, b.known = len(b.known), append(b.known, string(index))
	}
	b.indices = append(b.indices, b.known[at])
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
