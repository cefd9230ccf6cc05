package stream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/internal/awshttp"
	"millrace/internal/telemetry"
	"millrace/test/strict"
)

// strictly opens a stream of one shard that behaves as AWS does.
func strictly(t *testing.T, k *strict.Kinesis) *Stream {
	t.Helper()
	client := kinesis.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: &k.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient: awshttp.Wrap(nil),
	})
	s, err := Open(t.Context(), client, "strict", Settings{CallsPerSecond: -1, BytesPerSecond: -1, IdleWait: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// born is when the streams of these tests were made.
var born = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// follow reads pages until so many records came, and n more.
func follow(ctx context.Context, t *testing.T, r *Reader, records, more int) (losses []Loss, at telemetry.Checkpoint) {
	t.Helper()
	for records > 0 || more > 0 {
		if records <= 0 {
			more--
		}
		page, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		records -= len(page.Records)
		if page.Loss != nil {
			losses = append(losses, *page.Loss)
		}
		if n := len(page.Records); n > 0 {
			at.Sequence, at.Arrived = page.Records[n-1].Sequence, page.Records[n-1].Arrived
		}
		at.ReadUpTo = page.ReadUpTo
	}
	return losses, at
}

// TestReaderReportsUnreadTrimmedRecords, also when those who read are interrupted
// before they know, and however the retention has changed meanwhile; what had
// been read is no loss.
func TestReaderReportsUnreadTrimmedRecords(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		idle time.Duration // from the last record to the last reading
		// away is what happens while no reader runs.
		away func(k *strict.Kinesis)
		loss bool
	}{
		"the retention is as it was": {0, func(k *strict.Kinesis) { k.Pass(8 * day) }, true},
		"it was shortened, and is long again": {0, func(k *strict.Kinesis) {
			k.Pass(30 * time.Hour)
			k.Keep(day)
			k.Keep(7 * day)
		}, true},
		"it was shortened, long after the last record": {8 * day, func(k *strict.Kinesis) {
			k.Pass(30 * time.Hour)
			k.Keep(day)
			k.Keep(7 * day)
		}, true},
		"it was shortened": {0, func(k *strict.Kinesis) {
			k.Pass(30 * time.Hour)
			k.Keep(day)
		}, true},
		"nothing was trimmed": {0, func(k *strict.Kinesis) { k.Pass(6 * day) }, false},
		"the shard was quiet": {8 * day, func(k *strict.Kinesis) { k.Pass(20 * time.Hour) }, false},
		"it was made longer, the shard was quiet": {0, func(k *strict.Kinesis) {
			k.Keep(day)
			k.Pass(20 * time.Hour)
			k.Keep(30 * day)
		}, false},
	} {
		for style, set := range map[string]func(k *strict.Kinesis){
			"silent":       func(*strict.Kinesis) {},
			"refused":      func(k *strict.Kinesis) { k.Refuse = true },
			"empty pages":  func(k *strict.Kinesis) { k.EmptyPages = 3 },
			"expires, too": func(k *strict.Kinesis) { k.EmptyPages, k.Refuse = 3, true; k.Expire() },
		} {
			for version, forget := range map[string]func(*telemetry.Checkpoint){
				"": func(*telemetry.Checkpoint) {}, " of an older version": func(c *telemetry.Checkpoint) { c.Arrived = time.Time{} },
			} {
				t.Run(name+", "+style+version, func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					t.Cleanup(cancel)
					k := strict.StartKinesis(t, born, 7*day)
					s := strictly(t, k)
					k.Pass(time.Hour)
					k.Put(makeRecords(0, 1)[0])
					reader := s.Reader(strict.Shard, telemetry.Checkpoint{})
					_, at := follow(ctx, t, reader, 1, 1)
					if k.Pass(c.idle); c.idle > 0 {
						var passed telemetry.Checkpoint
						if _, passed = follow(ctx, t, reader, 0, 1); !passed.ReadUpTo.After(at.ReadUpTo) {
							t.Fatalf("time has not passed: %+v", passed)
						}
						at.ReadUpTo = passed.ReadUpTo
					}
					k.Put(makeRecords(1, 1)[0]) // no reader has it
					c.away(k)
					k.Put(makeRecords(2, 1)[0])
					set(k)
					forget(&at)
					// A call that ends before it has come to a record hands on what it knows.
					interrupted := s.Reader(strict.Shard, at)
					for range k.EmptyPages {
						page, err := interrupted.Next(ctx)
						if err != nil {
							t.Fatal(err)
						}
						if page.Loss != nil || len(page.Records) > 0 {
							t.Fatalf("an empty page has %+v", page)
						}
						at.ReadUpTo = page.ReadUpTo
					}
					want := 1
					if !c.loss {
						want = 2
					}
					losses, _ := follow(ctx, t, s.Reader(strict.Shard, at), want, 0)
					if c.loss != (len(losses) == 1) {
						t.Errorf("the losses are %+v", losses)
					}
				})
			}
		}
	}
}

// TestReaderReportsRecordsTrimmedAhead: an iterator that is in use passes
// over it in silence. A reader that is not that late continues with one iterator.
func TestReaderReportsRecordsTrimmedAhead(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		late      time.Duration
		shorten   bool
		losses    int
		iterators int
	}{
		"read in time":                               {20 * time.Hour, false, 0, 2},
		"read late, and nothing was trimmed":         {30 * time.Hour, false, 0, 4},
		"read late, and the retention was shortened": {30 * time.Hour, true, 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			t.Cleanup(cancel)
			k := strict.StartKinesis(t, born, 7*day)
			s := strictly(t, k)
			s.settings.LimitPerCall = 3
			k.Pass(time.Hour)
			k.Put(makeRecords(0, 1)[0])
			_, at := follow(ctx, t, s.Reader(strict.Shard, telemetry.Checkpoint{}), 1, 0)
			var sequences []string
			for n := range 4 {
				sequences = append(sequences, k.Put(makeRecords(1+n, 1)[0]))
			}
			k.Pass(c.late)
			last := k.Put(makeRecords(5, 1)[0])
			reader := s.Reader(strict.Shard, at)
			losses, at := follow(ctx, t, reader, 2, 0)
			if len(losses) > 0 || at.Sequence != sequences[1] {
				t.Fatalf("the first page ends at %+v, the losses are %+v", at, losses)
			}
			rest := 3
			if c.shorten {
				k.Keep(day)
				rest = 1
			}
			losses, at = follow(ctx, t, reader, rest, 0)
			if len(losses) != c.losses || at.Sequence != last {
				t.Fatalf("it has come to %+v, the losses are %+v", at, losses)
			}
			if c.losses > 0 && (losses[0].After != sequences[1] || losses[0].Before != last) {
				t.Errorf("the loss is %+v, want from %s to %s", losses[0], sequences[1], last)
			}
			if calls := k.Calls("GetShardIterator"); calls != c.iterators {
				t.Errorf("%d iterators were asked for, want %d", calls, c.iterators)
			}
		})
	}
}

// TestRecreatedStreamIsNotReadAsEarlierOne, whether the reader was
// opened before or after that, and however the service answers about a record
// that the new stream never had.
func TestRecreatedStreamIsNotReadAsEarlierOne(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]bool{"silent": false, "refused": true} {
		for when, late := range map[string]bool{"opened before": false, "opened after": true} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				t.Cleanup(cancel)
				k := strict.StartKinesis(t, born, 24*time.Hour)
				k.Refuse = refuse
				s := strictly(t, k)
				k.Pass(time.Hour)
				first := k.Put(makeRecords(0, 1)[0])
				reader := s.Reader(strict.Shard, telemetry.Checkpoint{})
				_, at := follow(ctx, t, reader, 1, 0)
				k.Pass(time.Minute)
				anew := k.Recreate()
				k.Put(makeRecords(1, 1)[0])
				if late {
					reader = s.Reader(strict.Shard, at)
				}
				page, err := reader.Next(ctx)
				var replaced *ReplacedError
				if !errors.As(err, &replaced) || len(page.Records) > 0 || !replaced.Created.Equal(born) || !replaced.Anew.Equal(anew) {
					t.Fatalf("it reads %+v, %v", page, err)
				}
				select {
				case <-s.Replaced():
				default:
					t.Error("no other reader learns of it")
				}
				lost := telemetry.Range{StreamCreated: born, Shard: strict.Shard, First: first, Last: first, Count: 1}
				if got, err := strictly(t, k).Fetch(ctx, lost); err != nil || len(got) > 0 {
					t.Errorf("of the earlier stream it fetches %v, %v", got, err)
				}
			})
		}
	}
}

// TestIteratorOfEarlierStreamReadsNothingOfLaterOne, though the service
// lets it: a reader that has heard nothing for a while asks first, and reads
// nothing until that is answered.
func TestIteratorOfEarlierStreamReadsNothingOfLaterOne(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	k := strict.StartKinesis(t, born, 24*time.Hour)
	k.Carry = true
	s := strictly(t, k)
	k.Pass(time.Hour)
	k.Put(makeRecords(0, 1)[0])
	reader := s.Reader(strict.Shard, telemetry.Checkpoint{})
	follow(ctx, t, reader, 1, 1)
	described := k.Calls("DescribeStreamSummary")
	reader.heard = reader.heard.Add(-silence)
	follow(ctx, t, reader, 0, 3)
	if calls := k.Calls("DescribeStreamSummary") - described; calls != 1 {
		t.Errorf("it asked %d times whether the stream is the same", calls)
	}
	k.Pass(time.Minute)
	anew := k.Recreate()
	k.Put(makeRecords(1, 1)[0])
	reader.heard = reader.heard.Add(-silence)
	page, err := reader.Next(ctx)
	var replaced *ReplacedError
	if !errors.As(err, &replaced) || len(page.Records) > 0 || !replaced.Anew.Equal(anew) {
		t.Fatalf("it reads %+v, %v", page, err)
	}
}
