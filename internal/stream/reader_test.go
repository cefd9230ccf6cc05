package stream

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local/localtest"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
)

func TestReaderEndsSplitShardWithItsChildren(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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

// TestReaderSurvivesFaults: whatever a call meets, no record is missing,
// and none comes twice.
func TestReaderSurvivesFaults(t *testing.T) {
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
			ctx, cancel := context.WithTimeout(t.Context(), patience)
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

// TestTrimmedCheckpointIsPossibleLoss when the shard was not read within the
// stream's retention, and only then.
func TestTrimmedCheckpointIsPossibleLoss(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		readUpTo time.Time
		loss     bool
	}{
		"read yesterday":          {time.Now().Add(-25 * time.Hour), true},
		"read a minute ago":       {time.Now().Add(-time.Minute), false},
		"unknown when":            {time.Time{}, true},
		"just within a retention": {time.Now().Add(-23 * time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
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

// TestReaderSurvivesMissingAnswer: the call is made again.
func TestReaderSurvivesMissingAnswer(t *testing.T) {
	t.Parallel()
	never := func(operation string) faultproxy.Rule {
		return faultproxy.Rule{Operation: operation, Times: 1, Fault: faultproxy.Delay{Before: time.Hour}}
	}
	for name, c := range map[string]struct {
		settings Settings
		rule     faultproxy.Rule
	}{
		"an iterator":               {Settings{}, never("GetShardIterator")},
		"a page":                    {Settings{}, never("GetRecords")},
		"a subscription":            {Settings{FanOut: "test"}, never("SubscribeToShard")},
		"a subscription's consumer": {Settings{FanOut: "test"}, never("DescribeStreamConsumer")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			t.Cleanup(cancel)
			straight := newStream(ctx, t, localtest.AWS(t), Settings{})
			if rejected := straight.Put(ctx, makeRecords(0, 3)); len(rejected) > 0 {
				t.Fatalf("rejected %+v", rejected)
			}
			c.settings.AnswerWithin = 5 * time.Second // within which a busy machine answers
			s, proxy := through(ctx, t, straight, c.settings)
			reader := s.Reader(shardsOf(ctx, t, straight)[0].ID, telemetry.Checkpoint{})
			t.Cleanup(reader.Close)
			proxy.Set(c.rule)
			begun := time.Now()
			if read(ctx, t, reader, 3); time.Since(begun) < c.settings.AnswerWithin {
				t.Error("every answer came")
			}
		})
	}
}

// TestReaderGivesUpSilentConnection: the reader learns of it, and
// reading goes on when the network is mended.
func TestReaderGivesUpSilentConnection(t *testing.T) {
	t.Parallel()
	for name, fanOut := range map[string]string{"polling": "", "fan-out": "test"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			t.Cleanup(cancel)
			straight := newStream(ctx, t, localtest.AWS(t), Settings{})
			network, err := faultproxy.StartNetwork(ctx, strings.TrimPrefix(*localtest.AWS(t).BaseEndpoint, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = network.Close() })
			config := localtest.AWS(t)
			config.BaseEndpoint = aws.String("http://" + network.Address())
			settings := Settings{FanOut: fanOut, AnswerWithin: 5 * time.Second, GiveUpAfter: 3 * time.Second} // within which a busy machine answers
			s, err := Open(ctx, kinesis.NewFromConfig(config), straight.name, settings)
			if err != nil {
				t.Fatal(err)
			}
			reader := s.Reader(shardsOf(ctx, t, straight)[0].ID, telemetry.Checkpoint{})
			t.Cleanup(reader.Close)
			if _, err := reader.Next(ctx); err != nil {
				t.Fatal(err)
			}
			network.Cut()
			if rejected := straight.Put(ctx, makeRecords(0, 3)); len(rejected) > 0 {
				t.Fatalf("rejected %+v", rejected)
			}
			for err == nil {
				_, err = reader.Next(ctx)
			}
			if ctx.Err() != nil {
				t.Fatal("the reader does not learn that nothing comes")
			}
			network.Mend()
			read(ctx, t, reader, 3)
		})
	}
}

// through opens a stream behind a proxy.
func through(ctx context.Context, t *testing.T, straight *Stream, settings Settings, rules ...faultproxy.Rule) (*Stream, *faultproxy.Proxy) {
	t.Helper()
	proxy, err := faultproxy.Start(ctx, *localtest.AWS(t).BaseEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	proxy.Set(rules...)
	config := localtest.AWS(t)
	config.BaseEndpoint = aws.String(proxy.URL())
	s, err := Open(ctx, kinesis.NewFromConfig(config), straight.name, settings)
	if err != nil {
		t.Fatal(err)
	}
	return s, proxy
}

// answering is a rule that answers calls in the service's place.
func answering(operation, body string) faultproxy.Rule {
	return faultproxy.Rule{Operation: operation, Fault: faultproxy.Answer{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: body,
	}}
}

// TestMissingCheckpointIsPossibleLoss when it was there before
// the oldest records that the stream keeps, and only then.
func TestMissingCheckpointIsPossibleLoss(t *testing.T) {
	t.Parallel()
	created := func(age time.Duration) faultproxy.Rule {
		return answering("DescribeStreamSummary", fmt.Sprintf(`{"StreamDescriptionSummary":{"StreamName":"s","StreamARN":"arn:aws:kinesis:eu-west-1:000000000000:stream/s",
			"StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":%d}}`, time.Now().Add(-age).Unix()))
	}
	younger := answering("ListShards", `{"Shards":[]}`)
	younger.Holds = "AT_TRIM_HORIZON"
	throttled := faultproxy.Rule{Operation: "ListShards", Times: 3, Fault: faultproxy.Throttle()}
	for name, c := range map[string]struct {
		rules []faultproxy.Rule
		loss  bool
	}{
		"an old stream":                            {[]faultproxy.Rule{created(48 * time.Hour)}, true},
		"an old stream that throttles":             {[]faultproxy.Rule{created(48 * time.Hour), throttled}, true},
		"a young stream":                           {[]faultproxy.Rule{created(time.Hour)}, false},
		"a shard that an old stream has got since": {[]faultproxy.Rule{created(48 * time.Hour), younger}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			t.Cleanup(cancel)
			straight := newStream(ctx, t, localtest.AWS(t), Settings{})
			if rejected := straight.Put(ctx, makeRecords(0, 3)); len(rejected) > 0 {
				t.Fatalf("rejected %+v", rejected)
			}
			s, _ := through(ctx, t, straight, Settings{}, c.rules...)
			reader := s.Reader(shardsOf(ctx, t, straight)[0].ID, telemetry.Checkpoint{})
			var found []*Loss
			for records := 0; records < 3; {
				page, err := reader.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if records += len(page.Records); page.Loss != nil {
					found = append(found, page.Loss)
				}
			}
			if c.loss != (len(found) == 1) {
				t.Fatalf("the losses are %+v", found)
			}
			if c.loss && (found[0].After != "" || found[0].Before == "" || !found[0].From.IsZero() || found[0].To.IsZero()) {
				t.Errorf("the loss is %+v", found[0])
			}
		})
	}
}

// TestDeletedShardIsAtItsEnd, and what lay behind its checkpoint
// may be lost.
func TestDeletedShardIsAtItsEnd(t *testing.T) {
	t.Parallel()
	notFound := func(operation string) faultproxy.Rule {
		return faultproxy.Rule{Operation: operation, Fault: faultproxy.AWSError(http.StatusBadRequest, codeNotFound)}
	}
	others := answering("ListShards", `{"Shards":[{"ShardId":"child","ParentShardId":"shardId-000000000000"}]}`)
	for name, c := range map[string]struct {
		from      telemetry.Checkpoint
		listed    []faultproxy.Rule
		end, loss bool
	}{
		"never read":             {telemetry.Checkpoint{}, []faultproxy.Rule{others}, true, true},
		"not read to its end":    {telemetry.Checkpoint{Sequence: "1", ReadUpTo: time.Now().Add(-25 * time.Hour)}, []faultproxy.Rule{others}, true, true},
		"read to its end":        {telemetry.Checkpoint{Sequence: "1", ReadUpTo: time.Now().Add(-time.Hour)}, []faultproxy.Rule{others}, true, false},
		"it is still there":      {telemetry.Checkpoint{Sequence: "1"}, nil, false, false},
		"the stream is not, too": {telemetry.Checkpoint{Sequence: "1"}, []faultproxy.Rule{notFound("ListShards")}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			t.Cleanup(cancel)
			straight := newStream(ctx, t, localtest.AWS(t), Settings{})
			s, _ := through(ctx, t, straight, Settings{}, append(c.listed, notFound("GetShardIterator"))...)
			page, err := s.Reader("shardId-000000000000", c.from).Next(ctx)
			if !c.end {
				if code(err) != codeNotFound {
					t.Errorf("it gives %+v, %v", page, err)
				}
				return
			}
			if err != nil || !page.End || (page.Loss != nil) != c.loss || !slices.Equal(page.Children, []string{"child"}) {
				t.Errorf("it gives %+v, %v", page, err)
			}
		})
	}
}
