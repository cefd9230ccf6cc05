package stream

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"

	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// Rejection says that the stream did not take the record at a position.
type Rejection struct {
	Position int    // in the records given to Put
	Code     string // Kinesis's error code, or one of ours
	Message  string // free of the record's content
	// Invalid: the stream will never take this record. Otherwise it is
	// throttled or unavailable, and a later attempt may succeed.
	Invalid bool
}

// CodeUnavailable is the Code of a record for whose position there was no answer.
// Those of records that the stream will never take are in package outcome.
const CodeUnavailable = "Unavailable"

// Put makes one attempt to put every record and returns what the stream did
// not take, in the order of positions; none is the normal case. Kinesis may
// take some records of a call and reject others. A call that is refused as a
// whole for one bad entry is bisected until that entry is found.
func (s *Stream) Put(ctx context.Context, records [][]byte) []Rejection {
	return s.put(ctx, &put{stream: s}, records)
}

// Replay puts records that were in the stream before. They come into the shard
// in which they meet themselves, and readers can tell them: see
// Record.Replayed.
func (s *Stream) Replay(ctx context.Context, records [][]byte) []Rejection {
	return s.put(ctx, &put{stream: s, replay: true}, records)
}

func (s *Stream) put(ctx context.Context, p *put, records [][]byte) []Rejection {
	var group errgroup.Group
	group.SetLimit(s.settings.PutConcurrency)
	for _, c := range p.split(records) {
		group.Go(func() error {
			p.call(ctx, c)
			return nil
		})
	}
	_ = group.Wait() // its functions return no error
	p.confirm(ctx)
	slices.SortFunc(p.rejected, func(a, b Rejection) int { return cmp.Compare(a.Position, b.Position) })
	p.count(len(records))
	return p.rejected
}

// put is the work of one Put.
type put struct {
	stream *Stream
	replay bool

	mu       sync.Mutex
	taken    int
	refused  int // entries that were refused alone, as invalid
	rejected []Rejection
}

// call is what goes into one PutRecords request.
type call struct {
	entries   []types.PutRecordsRequestEntry
	positions []int
	bytes     int
}

// split makes calls within Kinesis's limits, and rejects what can never go
// into one.
func (p *put) split(records [][]byte) []call {
	var calls []call
	var next call
	for i, data := range records {
		if len(data) > telemetry.MaxRecordSize {
			p.reject(Rejection{Position: i, Code: outcome.TypeTooLargePut, Invalid: true,
				Message: fmt.Sprintf("%d bytes, the most is %d", len(data), telemetry.MaxRecordSize)})
			continue
		}
		key, err := telemetry.PartitionKey(data)
		if err != nil {
			p.reject(Rejection{Position: i, Code: outcome.TypeForeignPut, Invalid: true, Message: err.Error()})
			continue
		}
		size := len(data) + len(key)
		if len(next.entries) == maxCallRecords || next.bytes+size > maxCallBytes {
			calls = append(calls, next)
			next = call{}
		}
		entry := types.PutRecordsRequestEntry{Data: data, PartitionKey: &key}
		if p.replay {
			entry = replayed(entry)
		}
		next.entries = append(next.entries, entry)
		next.positions = append(next.positions, i)
		next.bytes += size
	}
	if len(next.entries) > 0 {
		calls = append(calls, next)
	}
	return calls
}

// call sends one request and notes how each of its positions ended.
func (p *put) call(ctx context.Context, c call) {
	out, err := p.stream.client.PutRecords(ctx,
		&kinesis.PutRecordsInput{StreamName: &p.stream.name, Records: c.entries},
		// The SDK would retry, and hide from the caller that the stream throttles.
		func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		p.refuse(ctx, c, err)
		return
	}
	for i, position := range c.positions {
		if i >= len(out.Records) {
			p.reject(Rejection{Position: position, Code: CodeUnavailable, Message: "the answer has no entry for it"})
			continue
		}
		entry := out.Records[i]
		if name := aws.ToString(entry.ErrorCode); name != "" {
			p.reject(Rejection{Position: position, Code: name, Message: aws.ToString(entry.ErrorMessage), Invalid: invalidCodes[name]})
			continue
		}
		// Without a sequence number there is no evidence that it was stored.
		if aws.ToString(entry.SequenceNumber) == "" {
			p.reject(Rejection{Position: position, Code: CodeUnavailable, Message: "the answer has no sequence number for it"})
			continue
		}
		p.collect()
	}
}

// refuse handles a call that failed as a whole.
func (p *put) refuse(ctx context.Context, c call, err error) {
	if invalidCodes[code(err)] || status(err) == http.StatusRequestEntityTooLarge {
		if half := len(c.entries) / 2; half > 0 {
			p.call(ctx, call{entries: c.entries[:half], positions: c.positions[:half]})
			p.call(ctx, call{entries: c.entries[half:], positions: c.positions[half:]})
			return
		}
		p.mu.Lock()
		p.refused++
		p.mu.Unlock()
		p.reject(Rejection{Position: c.positions[0], Code: code(err), Message: message(err), Invalid: true})
		return
	}
	rejection := Rejection{Code: code(err), Message: message(err)}
	if rejection.Code == "" {
		rejection.Code = CodeUnavailable
	}
	for _, rejection.Position = range c.positions {
		p.reject(rejection)
	}
}

// confirm takes back that entries are invalid when none was taken beside them
// and the stream cannot even be described: then it is the request that is
// wrong (a name, a region), and the records must not be given up for that.
func (p *put) confirm(ctx context.Context) {
	if p.refused == 0 || p.taken > 0 {
		return
	}
	if _, err := p.stream.describe(ctx); err == nil {
		return
	}
	for i, r := range p.rejected {
		if r.Code != outcome.TypeForeignPut && r.Code != outcome.TypeTooLargePut {
			p.rejected[i].Invalid = false
		}
	}
}

func (p *put) collect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken++
}

func (p *put) reject(r Rejection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rejected = append(p.rejected, r)
}
