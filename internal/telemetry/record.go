package telemetry

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// ReceivedAtLayout is the fixed-width form of received_at and indexed_at: UTC
// with milliseconds.
const ReceivedAtLayout = "2006-01-02T15:04:05.000Z"

const receivedAtSize = len(ReceivedAtLayout)

// TimestampLayout is the form of @timestamp: UTC with nanoseconds, trailing
// zeros dropped.
const TimestampLayout = "2006-01-02T15:04:05.999999999Z"

// MaxRecordSize is the largest stream record in bytes: Kinesis takes 1 MiB for
// data and partition key together (PutRecords, API reference).
const MaxRecordSize = 1<<20 - PartitionKeySize

// Head is what the collector decides about a record, once.
type Head struct {
	Index      string    // written to
	Own        string    // see Placement; empty where it is Index
	Earlier    string    // see Placement; empty for nearly all
	ReceivedAt time.Time // when the collector had the whole request
	Digest     Digest    // of the content
	Tenant     string
	Region     string // of the collector
	ID         string // the record's own id
	Type       string
	Timestamp  time.Time // the record's own time, or ReceivedAt without a usable one
	Trace      string    // see Record.Trace; empty for nearly all
}

// DocID derives the identity of the record.
func (h Head) DocID() DocID { return NewDocID(h.Tenant, cmp.Or(h.Own, h.Index), h.ID) }

const (
	keyDocID      = `{"doc_id":"`
	keyIndex      = `","index":"`
	keyReceivedAt = `"received_at":"`
	keyDigest     = `"digest":"`
	keyEarlier    = `"earlier_index":"`
	keyTenant     = `"tenant":`
	keyRegion     = `,"region":`
	keyID         = `,"id":`
	keyType       = `,"type":`
	keyTimestamp  = `,"@timestamp":`
	keyTrace      = `,"ingest_trace":`
	indexAt       = len(keyDocID) + docIDTextSize + len(keyIndex)
	optionalAt    = len(keyReceivedAt) + receivedAtSize + len(`",`) // in Record.Document, digest and earlier index, if there are any
)

// AppendRecord appends the stream record of a head and a body to dst. body is
// a compact JSON object, on one line, that has none of the head's keys.
func AppendRecord(dst []byte, h Head, body []byte) []byte {
	dst = append(dst, keyDocID...)
	dst = append(dst, h.DocID().String()...)
	dst = append(dst, keyIndex...)
	dst = append(dst, h.Index...)
	dst = append(dst, `",`...)
	dst = append(dst, keyReceivedAt...)
	dst = h.ReceivedAt.UTC().AppendFormat(dst, ReceivedAtLayout)
	dst = append(dst, `",`...)
	if h.Digest != 0 {
		dst = append(dst, keyDigest...)
		dst = h.Digest.append(dst)
		dst = append(dst, `",`...)
	}
	if h.Earlier != "" {
		dst = append(dst, keyEarlier...)
		dst = append(dst, h.Earlier...)
		dst = append(dst, `",`...)
	}
	dst = append(dst, keyTenant...)
	dst = appendString(dst, h.Tenant)
	dst = append(dst, keyRegion...)
	dst = appendString(dst, h.Region)
	dst = append(dst, keyID...)
	dst = appendString(dst, h.ID)
	dst = append(dst, keyType...)
	dst = appendString(dst, h.Type)
	dst = append(dst, keyTimestamp...)
	dst = append(dst, '"')
	dst = h.Timestamp.UTC().AppendFormat(dst, TimestampLayout)
	dst = append(dst, '"')
	if h.Trace != "" {
		dst = append(dst, keyTrace...)
		dst = appendString(dst, h.Trace)
	}
	if inner := body[1 : len(body)-1]; len(inner) > 0 {
		dst = append(dst, ',')
		dst = append(dst, inner...)
	}
	return append(dst, '}')
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil { // cannot happen: every string has a JSON form
				panic(fmt.Sprintf("encode %q as JSON: %v", s, err))
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// Record is a view of one stream record, cut where the processor needs it. Its
// slices share the memory of the data it was parsed from.
type Record struct {
	DocID      DocID
	DocIDText  []byte // DocID as it stands in the record
	Index      []byte
	ReceivedAt time.Time
	Digest     Digest // zero where its collector was of a version without one
	Earlier    []byte // see Placement; nil for most
	tenantAt   int    // where the tenant begins in Document
	// Document is everything from "received_at" to the closing brace: the
	// document for Elasticsearch but for its opening brace and indexed_at.
	Document []byte
}

// ErrForeign says that a stream record was not written by a collector: it does
// not begin with our head, or is not one line. No index can be named for it.
var ErrForeign = errors.New("not a record of this pipeline")

// Parse cuts a stream record. It reads the head alone and allocates nothing
// unless it fails; the error wraps ErrForeign.
func Parse(data []byte) (Record, error) {
	var p Parser
	return p.Parse(data)
}

// Parser parses records one after another. It remembers what the last one said that the next one tends to say as well: the
// records of a post share index and received_at. The zero value is ready. It is not safe for concurrent use.
type Parser struct {
	index      [64]byte // a valid name; longer ones are looked at each time
	length     int      // of it
	received   [receivedAtSize + len(`"`)]byte
	receivedAt time.Time // zero: none is remembered
}

// Parse is the function Parse, and remembers.
func (p *Parser) Parse(data []byte) (Record, error) {
	r, err := cut(data)
	if err != nil {
		return r, err
	}
	// The index stands in the bulk action without quoting, so nothing but the
	// names that we make may pass.
	if !p.isIndexName(r.Index) || r.Earlier != nil && !isIndexName(r.Earlier) {
		return r, fmt.Errorf("%w: the index is not a telemetry index", ErrForeign)
	}
	if r.DocID, err = ParseDocID(r.DocIDText); err != nil {
		return r, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if r.ReceivedAt, err = p.parseReceivedAt(r.Document[len(keyReceivedAt):]); err != nil {
		return r, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if digest, ok := bytes.CutPrefix(r.Document[optionalAt:], []byte(keyDigest)); ok {
		if r.Digest, err = parseDigest(digest); err != nil {
			return r, fmt.Errorf("%w: %w", ErrForeign, err)
		}
	}
	// A line break inside would fall apart into several lines of a bulk body.
	if r.Document[len(r.Document)-1] != '}' || bytes.IndexByte(r.Document, '\n') >= 0 {
		return r, fmt.Errorf("%w: it is not one JSON object on one line", ErrForeign)
	}
	return r, nil
}

func (p *Parser) isIndexName(name []byte) bool {
	if string(name) == string(p.index[:p.length]) {
		return true
	}
	if !isIndexName(name) {
		return false
	}
	if len(name) <= len(p.index) {
		p.length = copy(p.index[:], name)
	}
	return true
}

func (p *Parser) parseReceivedAt(text []byte) (at time.Time, err error) {
	if !p.receivedAt.IsZero() && bytes.HasPrefix(text, p.received[:]) {
		return p.receivedAt, nil
	}
	if at, err = parseReceivedAt(text); err == nil {
		p.receivedAt = at
		copy(p.received[:], text)
	}
	return at, err
}

// Cuts say where the parts of a record stand, for who has parsed it and needs them again.
type Cuts struct{ index, earlier, tenant int32 } // length, length, and Record.tenantAt

// Cuts are those of a record that was parsed.
func (r Record) Cuts() Cuts {
	//nolint:gosec // a record of the stream is much smaller
	return Cuts{index: int32(len(r.Index)), earlier: int32(len(r.Earlier)), tenant: int32(r.tenantAt)}
}

// Of returns the parts of a record that has these cuts. DocID, ReceivedAt and Digest are zero. It is false where the record does
// not stand in data any more.
func (c Cuts) Of(data []byte) (r Record, ok bool) {
	indexEnd := indexAt + int(c.index)
	documentAt := indexEnd + len(`",`)
	if len(data) < documentAt+int(c.tenant) || string(data[:len(keyDocID)]) != keyDocID ||
		string(data[documentAt:documentAt+len(keyReceivedAt)]) != keyReceivedAt {
		return r, false
	}
	r.DocIDText = data[len(keyDocID) : len(keyDocID)+docIDTextSize]
	r.Index, r.Document, r.tenantAt = data[indexAt:indexEnd], data[documentAt:], int(c.tenant)
	if c.earlier > 0 {
		end := r.tenantAt - len(`",`)
		r.Earlier = r.Document[end-int(c.earlier) : end]
	}
	return r, true
}

// cut finds where the parts of a record stand, and reads none of them. The error wraps ErrForeign.
func cut(data []byte) (Record, error) {
	var r Record
	if len(data) < indexAt || string(data[:len(keyDocID)]) != keyDocID ||
		string(data[len(keyDocID)+docIDTextSize:indexAt]) != keyIndex {
		return r, fmt.Errorf("%w: the head is missing", ErrForeign)
	}
	r.DocIDText = data[len(keyDocID) : len(keyDocID)+docIDTextSize]
	length := bytes.IndexByte(data[indexAt:], '"')
	if length <= 0 {
		return r, fmt.Errorf("%w: the index is not a telemetry index", ErrForeign)
	}
	r.Index = data[indexAt : indexAt+length]
	documentAt := indexAt + length + len(`",`)
	if documentAt >= len(data) || !bytes.HasPrefix(data[documentAt:], []byte(keyReceivedAt)) {
		return r, fmt.Errorf("%w: received_at does not follow the index", ErrForeign)
	}
	r.Document = data[documentAt:]
	if len(r.Document) < optionalAt {
		return r, fmt.Errorf("%w: it ends in its head", ErrForeign)
	}
	rest := r.Document[optionalAt:]
	if after, ok := bytes.CutPrefix(rest, []byte(keyDigest)); ok {
		if len(after) < digestTextSize+len(`",`) {
			return r, fmt.Errorf("%w: %w", ErrForeign, errDigest)
		}
		rest = after[digestTextSize+len(`",`):]
	}
	if after, ok := bytes.CutPrefix(rest, []byte(keyEarlier)); ok {
		length := bytes.IndexByte(after, '"')
		if length <= 0 || length+len(`",`) > len(after) {
			return r, fmt.Errorf("%w: the earlier index is not a telemetry index", ErrForeign)
		}
		r.Earlier, rest = after[:length], after[length+len(`",`):]
	}
	r.tenantAt = len(r.Document) - len(rest)
	return r, nil
}

// DocIDOf returns the DocID at the head of a stream record that was made by
// AppendRecord.
func DocIDOf(data []byte) DocID {
	id, err := ParseDocID(data[len(keyDocID) : len(keyDocID)+docIDTextSize])
	if err != nil { // cannot happen: AppendRecord wrote it
		panic(fmt.Sprintf("read the id of a record that was just written: %v", err))
	}
	return id
}

// isIndexName reports whether name is one that IndexName or CanaryIndex could have made.
func isIndexName(name []byte) bool {
	if !bytes.HasPrefix(name, []byte(IndexPrefix)) {
		_, ok := ParseCanaryIndex(string(name)) // one that is of no day would never be deleted
		return ok
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

var errReceivedAt = errors.New("received_at is not a UTC time with milliseconds")

// parseReceivedAt reads ReceivedAtLayout and the quote behind it. time.Parse
// takes ten times as long, on every record.
func parseReceivedAt(b []byte) (time.Time, error) {
	if len(b) <= receivedAtSize || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' ||
		b[16] != ':' || b[19] != '.' || b[23] != 'Z' || b[receivedAtSize] != '"' {
		return time.Time{}, errReceivedAt
	}
	valid := true
	number := func(from, to int) int {
		n := 0
		for _, c := range b[from:to] {
			if c < '0' || c > '9' {
				valid = false
			}
			n = 10*n + int(c-'0')
		}
		return n
	}
	t := time.Date(number(0, 4), time.Month(number(5, 7)), number(8, 10), number(11, 13), number(14, 16),
		number(17, 19), number(20, 23)*int(time.Millisecond), time.UTC)
	if !valid {
		return time.Time{}, errReceivedAt
	}
	return t, nil
}

// PartitionKey returns the Kinesis partition key of a stream record: the
// DocID of its head in hex. The error wraps ErrForeign.
func PartitionKey(data []byte) (string, error) {
	r, err := Parse(data)
	if err != nil {
		return "", err
	}
	return r.DocID.PartitionKey(), nil
}

// IndexOf is the index that a stream record names; nil of one that no collector wrote.
func IndexOf(data []byte) []byte {
	r, err := Parse(data)
	if err != nil {
		return nil
	}
	return r.Index
}
