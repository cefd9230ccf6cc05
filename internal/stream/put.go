package stream

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"

	"millrace/internal/container"
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
	if p.form = s.currentForm(ctx); p.form != container.Single {
		s.refresh(ctx)
	}
	var group errgroup.Group
	group.SetLimit(s.settings.PutConcurrency)
	for _, c := range calls(p.entries(records)) {
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
	form   container.Form

	mu       sync.Mutex
	taken    int
	refused  int // entries that were refused alone, as invalid
	rejected []Rejection
}

// entry is what goes into one record of the stream: a document, or a container of several.
type entry struct {
	types.PutRecordsRequestEntry
	documents []document
}

// document is one of the records given to Put.
type document struct {
	position int
	data     []byte
	key      string // its partition key
}

func (e entry) size() int { return len(e.Data) + len(*e.PartitionKey) }

// entries makes the entries of some records, and rejects what can never go into
// one.
func (p *put) entries(records [][]byte) (entries []entry) {
	alone := make([]document, 0, len(records))
	beside := map[string][]document{} // by the shard that takes them
	shards := p.stream.places.known()
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
		shard := ""
		if p.form != container.Single { // it is on one line, as a pack needs it: else it has no key
			shard = shards.of(hashOf(key))
		}
		if d := (document{i, data, key}); shard == "" {
			alone = append(alone, d)
		} else {
			beside[shard] = append(beside[shard], d)
		}
	}
	for _, shard := range slices.Sorted(maps.Keys(beside)) {
		entries = p.contain(entries, beside[shard])
	}
	return p.singles(entries, alone)
}

// singles appends an entry for each document.
func (p *put) singles(entries []entry, documents []document) []entry {
	entries = slices.Grow(entries, len(documents))
	for i := range documents {
		entries = append(entries, p.entry(documents[i].data, documents[i:i+1]))
	}
	return entries
}

// contain appends the entries of documents that belong into one shard.
func (p *put) contain(entries []entry, documents []document) []entry {
	var filler container.Filler
	plain, keys := make([][]byte, len(documents)), make([]string, len(documents))
	for i, d := range documents {
		plain[i], keys[i] = d.data, d.key
	}
	for len(documents) > 0 {
		var data []byte
		var n int
		if p.form == container.KPL {
			data, n = container.FillKPL(plain, keys, hashOf(keys[0]).decimal(), telemetry.MaxRecordSize)
		} else {
			data, n = filler.Fill(plain, telemetry.MaxRecordSize)
		}
		if n == 1 { // it gains nothing in a container
			data = documents[0].data
		}
		entries = append(entries, p.entry(data, documents[:n]))
		documents, plain, keys = documents[n:], plain[n:], keys[n:]
	}
	return entries
}

// entry makes that of some documents, in the shard of the first.
func (p *put) entry(data []byte, documents []document) entry {
	request := types.PutRecordsRequestEntry{Data: data, PartitionKey: &documents[0].key}
	if p.replay {
		request = replayed(request)
	}
	return entry{request, documents}
}

// calls divides entries into calls within Kinesis's limits.
func calls(entries []entry) (all [][]entry) {
	begin, size := 0, 0
	for i, e := range entries {
		if i-begin == maxCallRecords || size+e.size() > maxCallBytes {
			all, begin, size = append(all, entries[begin:i]), i, 0
		}
		size += e.size()
	}
	if begin < len(entries) {
		all = append(all, entries[begin:])
	}
	return all
}

// call sends one request and notes how each of its documents ended.
func (p *put) call(ctx context.Context, entries []entry) {
	input := &kinesis.PutRecordsInput{StreamName: &p.stream.name, Records: make([]types.PutRecordsRequestEntry, 0, len(entries))}
	for _, e := range entries {
		input.Records = append(input.Records, e.PutRecordsRequestEntry)
	}
	// The SDK would retry, and hide from the caller that the stream throttles.
	out, err := p.stream.client.PutRecords(ctx, input, func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		p.refuse(ctx, entries, err)
		return
	}
	for i, e := range entries {
		if i >= len(out.Records) {
			p.rejectAll(e, Rejection{Code: CodeUnavailable, Message: "the answer has no entry for it"})
			continue
		}
		result := out.Records[i]
		if name := aws.ToString(result.ErrorCode); name != "" {
			p.rejectAll(e, Rejection{Code: name, Message: aws.ToString(result.ErrorMessage), Invalid: invalidCodes[name]})
			continue
		}
		// Without a sequence number there is no evidence that it was stored.
		if aws.ToString(result.SequenceNumber) == "" {
			p.rejectAll(e, Rejection{Code: CodeUnavailable, Message: "the answer has no sequence number for it"})
			continue
		}
		if len(e.documents) > 1 {
			p.stream.places.went(e.documents[0].key, aws.ToString(result.ShardId))
		}
		p.collect(e)
	}
}

// refuse handles a call that failed as a whole.
func (p *put) refuse(ctx context.Context, entries []entry, err error) {
	if invalidCodes[code(err)] || status(err) == http.StatusRequestEntityTooLarge {
		if half := len(entries) / 2; half > 0 {
			p.call(ctx, entries[:half])
			p.call(ctx, entries[half:])
			return
		}
		if documents := entries[0].documents; len(documents) > 1 { // one of them may be to blame
			for _, c := range calls(p.singles(nil, documents)) {
				p.call(ctx, c)
			}
			return
		}
		p.mu.Lock()
		p.refused++
		p.mu.Unlock()
		p.rejectAll(entries[0], Rejection{Code: code(err), Message: message(err), Invalid: true})
		return
	}
	rejection := Rejection{Code: code(err), Message: message(err)}
	if rejection.Code == "" {
		rejection.Code = CodeUnavailable
	}
	for _, e := range entries {
		p.rejectAll(e, rejection)
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

func (p *put) collect(e entry) {
	putEntries.Inc()
	putBytes.Add(float64(len(e.Data)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken++
}

// rejectAll rejects each document of an entry.
func (p *put) rejectAll(e entry, r Rejection) {
	for _, d := range e.documents {
		r.Position = d.position
		p.reject(r)
	}
}

func (p *put) reject(r Rejection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rejected = append(p.rejected, r)
}
