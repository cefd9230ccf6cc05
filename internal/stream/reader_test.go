package stream

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local/localtest"
	"millrace/internal/telemetry"
	"millrace/test/faultproxy"
)

func TestAShardThatWasSplitIsReadToItsEndAndNamesItsChildren(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s := newStream(ctx, t, localtest.Kinesalite(t), Settings{})
	parent := shardsOf(ctx, t, s)[0]
	records := makeRecords(0, 100)
	if rejected := s.Put(ctx, records); len(rejected) > 0 {
		t.Fatalf("rejected %+v", rejected)
	}
	middle := "170141183460469231731687303715884105728" // 2^127: half of all hash keys
	_, err := s.client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &s.name, ShardToSplit: &parent.ID, NewStartingHashKey: &middle})
	if err == nil {
		err = kinesis.NewStreamExistsWaiter(s.client).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &s.name}, time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
	after := makeRecords(100, 100)
	if rejected := s.Put(ctx, after); len(rejected) > 0 {
		t.Fatalf("rejected %+v", rejected)
	}

	reader := s.Reader(parent.ID, telemetry.Checkpoint{})
	got := map[string]bool{}
	var last Page
	for !last.End {
		if last, err = reader.Next(ctx); err != nil {
			t.Fatal(err)
		}
		for _, r := range last.Records {
			got[string(r.Data)] = true
		}
	}
	if len(got) != len(records) || len(last.Children) != 2 {
		t.Fatalf("the parent had %d records and the children %v", len(got), last.Children)
	}
	if again, err := reader.Next(ctx); err != nil || !again.End || len(again.Records) > 0 {
		t.Errorf("behind the end comes %+v, %v", again, err)
	}
	listed := shardsOf(ctx, t, s)
	for _, child := range last.Children {
		at := slices.IndexFunc(listed, func(s Shard) bool { return s.ID == child })
		if at < 0 || !slices.Equal(listed[at].Parents, []string{parent.ID}) {
			t.Fatalf("child %s is not listed behind its parent: %+v", child, listed)
		}
		reader := s.Reader(child, telemetry.Checkpoint{})
		for quiet := 0; quiet < 2; {
			page, err := reader.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Records) == 0 {
				quiet++
			}
			for _, r := range page.Records {
				got[string(r.Data)] = true
			}
		}
	}
	if len(got) != len(records)+len(after) {
		t.Errorf("%d of %d records were read", len(got), len(records)+len(after))
	}
	// Who comes late, with a checkpoint at the end, is told the same.
	late := s.Reader(parent.ID, telemetry.Checkpoint{Sequence: "1", Closed: true})
	if page, err := late.Next(ctx); err != nil || !page.End || len(page.Children) != 2 {
		t.Errorf("late comes %+v, %v", page, err)
	}
}

func shardsOf(ctx context.Context, t *testing.T, s *Stream) []Shard {
	t.Helper()
	shards, err := s.Shards(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return shards
}

// TestReadingGetsThroughFaults: whatever a call meets, no record is missing,
// and none comes twice.
func TestReadingGetsThroughFaults(t *testing.T) {
	t.Parallel()
	of := func(operation string, fault faultproxy.Fault) faultproxy.Rule {
		return faultproxy.Rule{Name: "fault", Operation: operation, Times: 3, Fault: fault}
	}
	for name, rule := range map[string]faultproxy.Rule{
		"expired iterators":      of("GetRecords", faultproxy.AWSError(http.StatusBadRequest, "ExpiredIteratorException")),
		"throttled reads":        of("GetRecords", faultproxy.Throttle()),
		"failing reads":          of("GetRecords", faultproxy.AWSError(http.StatusInternalServerError, "InternalFailure")),
		"answers that break off": of("GetRecords", faultproxy.Truncate{Keep: 0.5}),
		"lost answers":           of("GetRecords", faultproxy.Applied{}),
		"refused iterators":      of("GetShardIterator", faultproxy.Throttle()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			t.Cleanup(cancel)
			straight := newStream(ctx, t, localtest.AWS(t), Settings{})
			if rejected := straight.Put(ctx, makeRecords(0, 600)); len(rejected) > 0 {
				t.Fatalf("rejected %+v", rejected)
			}
			proxy, err := faultproxy.Start(ctx, *localtest.AWS(t).BaseEndpoint)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = proxy.Close() })
			through := localtest.AWS(t)
			through.BaseEndpoint = aws.String(proxy.URL())
			s, err := Open(ctx, kinesis.NewFromConfig(through), straight.name, Settings{LimitPerCall: 100, CallsPerSecond: -1, BytesPerSecond: -1})
			if err != nil {
				t.Fatal(err)
			}
			reader := s.Reader(shardsOf(ctx, t, s)[0].ID, telemetry.Checkpoint{})
			seen := map[string]bool{}
			for len(seen) < 600 {
				if len(seen) >= 200 && len(proxy.Log()) == 0 && rule.Operation != "GetShardIterator" || len(seen) == 0 {
					proxy.Set(rule)
				}
				page, err := reader.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range page.Records {
					if seen[string(r.Data)] {
						t.Fatalf("%s came twice", r.Sequence)
					}
					seen[string(r.Data)] = true
				}
			}
			if times, _ := proxy.Count("fault"); times == 0 {
				t.Error("there was no fault")
			}
		})
	}
}

// TestATrimmedCheckpointIsAPossibleLoss when the shard was not read within the
// stream's retention, and only then.
func TestATrimmedCheckpointIsAPossibleLoss(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		readUpTo time.Time
		loss     bool
	}{
		"read yesterday":          {time.Now().Add(-25 * time.Hour), true},
		"read a minute ago":       {time.Now().Add(-time.Minute), false},
		"nobody knows when":       {time.Time{}, true},
		"just within a retention": {time.Now().Add(-23 * time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			t.Cleanup(cancel)
			s := newStream(ctx, t, localtest.AWS(t), Settings{})
			if rejected := s.Put(ctx, makeRecords(0, 3)); len(rejected) > 0 {
				t.Fatalf("rejected %+v", rejected)
			}
			trimmed := telemetry.Checkpoint{Sequence: "0", ReadUpTo: c.readUpTo}
			reader := s.Reader(shardsOf(ctx, t, s)[0].ID, trimmed)
			records := 0
			var loss *Loss
			for records < 3 {
				page, err := reader.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				records += len(page.Records)
				if page.Loss != nil {
					loss = page.Loss
				}
			}
			if (loss != nil) != c.loss {
				t.Fatalf("the loss is %+v", loss)
			}
			if loss != nil && (loss.After != trimmed.Sequence || loss.Before == "" || !loss.From.Equal(c.readUpTo)) {
				t.Errorf("the loss is %+v", loss)
			}
		})
	}
}
