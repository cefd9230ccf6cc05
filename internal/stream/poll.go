package stream

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/internal/telemetry"
)

// poller reads a shard with GetRecords, within its budget.
type poller struct {
	stream   *Stream
	shard    string
	budget   *budget
	iterator string
	idle     time.Time // not before this: the shard was idle
	limit    int       // records of a page, at most
	mean     int       // bytes of a record of the last page; 0: none was read
}

func (s *Stream) poller(shard string, limit int) *poller {
	return &poller{stream: s, shard: shard, budget: s.budget(shard), limit: limit}
}

// once leaves retries to the reader, which counts them and keeps to the budget.
func once(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} }

func (p *poller) open(ctx context.Context, at position) error {
	p.iterator = ""
	input := &kinesis.GetShardIteratorInput{StreamName: &p.stream.name, ShardId: &p.shard}
	input.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	if at.sequence != "" {
		input.ShardIteratorType = types.ShardIteratorTypeAtSequenceNumber
		input.StartingSequenceNumber = &at.sequence
	}
	ctx, cancel := p.stream.awaiting(ctx)
	defer cancel()
	out, err := p.stream.client.GetShardIterator(ctx, input, once)
	if err != nil {
		return err //nolint:wrapcheck // the reader wraps it, with the shard
	}
	p.iterator = aws.ToString(out.ShardIterator)
	return nil
}

func (p *poller) next(ctx context.Context) (batch, error) {
	asked := time.Now()
	turn := p.budget.reserve(asked)
	if p.idle.After(turn) {
		turn = p.idle
	}
	if err := wait(ctx, turn); err != nil {
		return batch{}, err
	}
	called := time.Now()
	countWait(called.Sub(asked))

	ctx, cancel := p.stream.awaiting(ctx)
	defer cancel()
	var a answer
	out, err := p.stream.client.GetRecords(ctx, &kinesis.GetRecordsInput{
		ShardIterator: &p.iterator, Limit: aws.Int32(int32(p.pageRecords())), //nolint:gosec // at most 10,000
	}, once, decodeInto(&a))
	if err != nil {
		return batch{}, err //nolint:wrapcheck // the reader wraps it, with the shard
	}
	size := 0
	for i := range a.records {
		size += len(a.records[i].Data) + telemetry.PartitionKeySize
	}
	p.budget.spend(called, size)
	if size > 0 {
		p.mean = size / len(a.records)
	}
	p.iterator = a.next
	p.idle = time.Time{}
	if len(a.records) == 0 && a.behind == 0 {
		p.idle = called.Add(p.stream.settings.IdleWait)
	}
	answered, known := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !known {
		answered = called
	}
	return batch{
		records: a.records, memory: a.memory, behind: a.behind, answered: answered,
		end: a.next == "", children: a.children,
	}, nil
}

// pageRecords is how many records to ask for, so that they have about UsualPageBytes.
func (p *poller) pageRecords() int {
	if p.mean == 0 {
		return min(p.limit, firstPageRecords)
	}
	return min(p.limit, max(1, UsualPageBytes/p.mean))
}

func (p *poller) close() {}
