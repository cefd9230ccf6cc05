package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/segmentio/asm/base64"
)

// The SDK decodes a page of GetRecords into several allocations a record,
// which costs more than all else the processor does with it. This decoder
// takes its place for that one operation: it makes one buffer for the data and
// one string for the sequence numbers of a page, however many records it has,
// and the buffer is that of an earlier page if there is one to be had. Base64 is
// decoded by a library that does it with vector instructions: with Go's own,
// that alone was a quarter of the processor's work.

// answer is the body of a GetRecords response.
type answer struct {
	records  []Record
	memory   *memory // in which they lie
	next     string  // iterator; empty at the end of the shard
	behind   time.Duration
	children []string
}

// span says where a record's parts stand in a body.
type span struct {
	data, sequence []byte
	arrived        time.Time
	replayed       bool
}

// workspace is what decoding a page needs and the page does not keep.
type workspace struct {
	body  bytes.Buffer
	spans []span
	names []byte // the sequence numbers, one behind the other
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// maxKept bounds in bytes the buffers that are kept for the next page: a full
// page in base64, with keys.
const maxKept = 20 << 20

func (w *workspace) release() {
	if w.body.Cap() > maxKept {
		return
	}
	clear(w.spans) // they may point at strings of their own
	w.body.Reset()
	w.spans, w.names = w.spans[:0], w.names[:0]
	workspaces.Put(w)
}

// decode reads the text of a GetRecords response.
func (w *workspace) decode(text []byte) (answer, error) {
	var a answer
	s := &scanner{text: text}
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "Records":
			w.spans = w.spans[:0]
			if !s.null() {
				err = s.array(func() error { return w.record(s) })
			}
		case "NextShardIterator":
			a.next = ""
			if !s.null() {
				var text []byte
				text, err = s.str()
				a.next = string(text)
			}
		case "MillisBehindLatest":
			a.behind = 0
			if !s.null() {
				a.behind, err = milliseconds(s)
			}
		case "ChildShards":
			a.children, err = childShards(s)
		default:
			_, err = s.value(0)
		}
		return err
	})
	if err != nil {
		return answer{}, err
	}
	if s.peek() != 0 || s.at < len(s.text) {
		return answer{}, s.fail("more behind the object")
	}
	a.memory, err = w.build()
	if err == nil && a.memory != nil {
		a.records = a.memory.records
	}
	return a, err
}

// memory is what the records of a page lie in, but for their sequence numbers,
// which checkpoints keep.
type memory struct {
	records []Record
	data    []byte
}

var memories = sync.Pool{New: func() any { return new(memory) }}

func (m *memory) release() {
	if cap(m.data) > MaxPageBytes {
		return
	}
	clear(m.records)
	memories.Put(m)
}

// record notes the parts of one record.
func (w *workspace) record(s *scanner) error {
	if s.null() {
		w.spans = append(w.spans, span{})
		return nil
	}
	var r span
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "Data":
			r.data, err = s.optional()
		case "PartitionKey":
			var key []byte
			key, err = s.optional()
			r.replayed = isReplayed(key)
		case "SequenceNumber":
			r.sequence, err = s.optional()
		case "ApproximateArrivalTimestamp":
			r.arrived = time.Time{}
			if !s.null() {
				var number []byte
				if number, err = s.number(); err == nil {
					r.arrived, err = epoch(number)
				}
			}
		default:
			_, err = s.value(0)
		}
		return err
	})
	w.spans = append(w.spans, r)
	return err
}

// optional returns the string that comes next, nothing for null.
func (s *scanner) optional() ([]byte, error) {
	if s.null() {
		return nil, nil
	}
	return s.str()
}

// build makes the records of the noted parts.
func (w *workspace) build() (*memory, error) {
	if len(w.spans) == 0 {
		return nil, nil
	}
	size := 0
	w.names = w.names[:0]
	for i := range w.spans {
		size += base64.StdEncoding.DecodedLen(len(w.spans[i].data))
		w.names = append(w.names, w.spans[i].sequence...)
	}
	m := memories.Get().(*memory)
	m.records = slices.Grow(m.records[:0], len(w.spans))[:len(w.spans)]
	m.data = slices.Grow(m.data[:0], size)[:size]
	data, names := m.data, string(w.names)
	for i := range w.spans {
		from := &w.spans[i]
		n, err := base64.StdEncoding.Decode(data, from.data)
		if err != nil {
			return nil, fmt.Errorf("decode the data of record %d: %w", i, err)
		}
		length := len(from.sequence)
		m.records[i] = Record{Sequence: names[:length], Arrived: from.arrived, Data: data[:n:n], Replayed: from.replayed}
		data, names = data[n:], names[length:]
	}
	return m, nil
}

func milliseconds(s *scanner) (time.Duration, error) {
	number, err := s.number()
	if err != nil {
		return 0, err
	}
	ms, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a number of milliseconds", errSyntax, number)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// childShards reads a list that comes once in the life of a shard.
func childShards(s *scanner) ([]string, error) {
	text, err := s.value(0)
	if err != nil {
		return nil, err
	}
	var list []struct{ ShardId string }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%w: %w", errSyntax, err)
	}
	var ids []string
	for _, shard := range list {
		ids = append(ids, shard.ShardId)
	}
	return ids, nil
}

// decodeInto makes a GetRecords call leave its answer in a. Refusals still go
// through the SDK's own decoder, which knows the types of errors.
func decodeInto(a *answer) func(*kinesis.Options) {
	return kinesis.WithAPIOptions(func(stack *middleware.Stack) error {
		const id = "OperationDeserializer"
		original, found := stack.Deserialize.Get(id)
		if !found {
			return fmt.Errorf("this version of the SDK has no %s", id)
		}
		_, err := stack.Deserialize.Swap(id, &deserializer{original: original, answer: a})
		return err //nolint:wrapcheck // it goes back to the SDK, which wraps it
	})
}

type deserializer struct {
	original middleware.DeserializeMiddleware
	answer   *answer
}

// ID names the step as the SDK does, which it replaces.
func (d *deserializer) ID() string { return d.original.ID() }

// HandleDeserialize decodes an answer, and leaves errors to the SDK.
func (d *deserializer) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, metadata, err := next.HandleDeserialize(ctx, in)
	response, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok || response.StatusCode != http.StatusOK {
		replay := middleware.DeserializeHandlerFunc(func(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
			return out, metadata, err
		})
		return d.original.HandleDeserialize(ctx, in, replay)
	}
	defer response.Body.Close()
	w := workspaces.Get().(*workspace)
	defer w.release()
	if size := response.ContentLength; size > 0 && size < maxKept {
		w.body.Grow(int(size) + bytes.MinRead)
	}
	if _, err := w.body.ReadFrom(response.Body); err != nil {
		return out, metadata, &smithy.DeserializationError{Err: fmt.Errorf("read the answer: %w", err)}
	}
	if *d.answer, err = w.decode(w.body.Bytes()); err != nil {
		return out, metadata, &smithy.DeserializationError{Err: err}
	}
	out.Result = &kinesis.GetRecordsOutput{NextShardIterator: aws.String(d.answer.next)}
	return out, metadata, nil
}
