package stream

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/internal/telemetry"
)

// Stream is a Kinesis data stream. It is safe for concurrent use, but for what
// Reader says.
type Stream struct {
	client   *kinesis.Client
	settings Settings
	name     string
	arn      string
	created  time.Time

	mu        sync.Mutex
	retention time.Duration
	described time.Time          // when retention was last read
	budgets   map[string]*budget // by shard
	consumers map[string]string  // ARNs of fan-out consumers that are known, by name
	anew      *ReplacedError     // once that is known

	written written
	places  places

	replaced chan struct{} // closed then
	glancing sync.Mutex
	glanced  time.Time // guarded by glancing
}

// retentionAge is how old the known retention may be when something depends on
// it.
const retentionAge = 10 * time.Minute

// Open finds the stream of that name. The error wraps the service's
// ResourceNotFoundException where there is none.
func Open(ctx context.Context, client *kinesis.Client, name string, settings Settings) (*Stream, error) {
	s := &Stream{client: client, settings: settings.withDefaults(), name: name, budgets: map[string]*budget{}, consumers: map[string]string{}, replaced: make(chan struct{})}
	summary, err := s.describe(ctx)
	if err != nil {
		return nil, err
	}
	s.arn = aws.ToString(summary.StreamARN)
	s.created = aws.ToTime(summary.StreamCreationTimestamp)
	return s, nil
}

// awaiting bounds a call in time: a connection may be gone without anybody
// having said so.
func (s *Stream) awaiting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.settings.AnswerWithin)
}

// Name returns the stream's name.
func (s *Stream) Name() string { return s.name }

// ARN returns the stream's Amazon resource name.
func (s *Stream) ARN() string { return s.arn }

// Created returns when the stream was made: it tells the stream from another
// of the same name.
func (s *Stream) Created() time.Time { return s.created }

// Retention returns how long the stream keeps a record, as last read.
func (s *Stream) Retention() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retention
}

func (s *Stream) describe(ctx context.Context) (*types.StreamDescriptionSummary, error) {
	ctx, cancel := s.awaiting(ctx)
	defer cancel()
	asked := time.Now()
	out, err := s.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s.name})
	if err != nil {
		return nil, fmt.Errorf("describe stream %s: %w", s.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retention = time.Duration(aws.ToInt32(out.StreamDescriptionSummary.RetentionPeriodHours)) * time.Hour
	s.described = asked
	retentionSeconds.Set(s.retention.Seconds())
	s.learn(aws.ToTime(out.StreamDescriptionSummary.StreamCreationTimestamp))
	return out.StreamDescriptionSummary, nil
}

// CurrentRetention reads the retention again when it is old: an operator may
// have shortened it. If that fails, the one last known has to do.
func (s *Stream) CurrentRetention(ctx context.Context) time.Duration {
	s.mu.Lock()
	old := time.Since(s.described) > retentionAge
	s.mu.Unlock()
	if old {
		_, _ = s.describe(ctx)
	}
	return s.Retention()
}

// Shard is one shard of the stream, as ListShards knows it.
type Shard struct {
	ID string
	// Parents are the shards that this one came from, by a split or a merge.
	// One that is itself no longer listed is past the stream's retention.
	Parents     []string
	First, Last string // sequence numbers; Last is empty while the shard is open
	// FirstHash and LastHash bound the hashes of the partition keys that it takes:
	// decimal numbers of up to 128 bits.
	FirstHash, LastHash string
}

// Takes reports whether records with a partition key are in the shard.
func (s Shard) Takes(partitionKey string) bool {
	hash := hashOf(partitionKey).decimal()
	return s.LastHash != "" && telemetry.CompareNumbers(s.FirstHash, hash) <= 0 && telemetry.CompareNumbers(hash, s.LastHash) <= 0
}

// Shards lists all shards, open and closed, that the stream still keeps.
func (s *Stream) Shards(ctx context.Context) ([]Shard, error) { return s.list(ctx, nil) }

// atTrimHorizon are the shards that were there already when the oldest records
// came that the stream still keeps (API reference of ListShards, ShardFilter).
var atTrimHorizon = &types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}

// lists reports whether a shard is among those that the stream still keeps, or
// among those of a filter.
func (s *Stream) lists(ctx context.Context, shard string, filter *types.ShardFilter) (bool, error) {
	shards, err := s.list(ctx, filter)
	return slices.ContainsFunc(shards, func(listed Shard) bool { return listed.ID == shard }), err
}

func (s *Stream) list(ctx context.Context, filter *types.ShardFilter) ([]Shard, error) {
	ctx, cancel := s.awaiting(ctx)
	defer cancel()
	var shards []Shard
	input := &kinesis.ListShardsInput{StreamName: &s.name, ShardFilter: filter}
	for {
		out, err := s.client.ListShards(ctx, input)
		if err != nil {
			return nil, fmt.Errorf("list shards of %s: %w", s.name, err)
		}
		for _, from := range out.Shards {
			shard := Shard{ID: aws.ToString(from.ShardId)}
			for _, parent := range []*string{from.ParentShardId, from.AdjacentParentShardId} {
				if aws.ToString(parent) != "" {
					shard.Parents = append(shard.Parents, *parent)
				}
			}
			if r := from.SequenceNumberRange; r != nil {
				shard.First, shard.Last = aws.ToString(r.StartingSequenceNumber), aws.ToString(r.EndingSequenceNumber)
			}
			if r := from.HashKeyRange; r != nil {
				shard.FirstHash, shard.LastHash = aws.ToString(r.StartingHashKey), aws.ToString(r.EndingHashKey)
			}
			shards = append(shards, shard)
		}
		if aws.ToString(out.NextToken) == "" {
			return shards, nil
		}
		// The token names the stream, and has the filter: giving both is an error
		// (ListShards, API reference).
		input = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

// budget returns the one budget of a shard.
func (s *Stream) budget(shard string) *budget {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.budgets[shard]
	if b == nil {
		b = newBudget(s.settings.CallsPerSecond, s.settings.BytesPerSecond)
		s.budgets[shard] = b
	}
	return b
}
