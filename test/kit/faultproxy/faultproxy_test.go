package faultproxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/deploy/local/localtest"
	"millrace/test/kit/faultproxy"
	"millrace/test/kit/poll"
)

func start(t *testing.T, target string, routes ...faultproxy.Route) *faultproxy.Proxy {
	t.Helper()
	proxy, err := faultproxy.Start(t.Context(), target, routes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	return proxy
}

// echo counts the calls that reach the service and answers each alike.
func echo(t *testing.T) (url string, calls *atomic.Int64) {
	t.Helper()
	calls = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		calls.Add(1)
		_, _ = io.WriteString(w, strings.Repeat("x", 1000))
	}))
	t.Cleanup(server.Close)
	return server.URL, calls
}

func post(ctx context.Context, client *http.Client, url string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

func TestFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault   faultproxy.Fault
		status  int // 0: no answer
		whole   bool
		reaches int64
	}{
		"answer":   {faultproxy.Answer{Status: 429, Body: strings.Repeat("x", 1000)}, 429, true, 0},
		"delay":    {faultproxy.Delay{Before: time.Millisecond, After: time.Millisecond}, 200, true, 1},
		"truncate": {faultproxy.Truncate{Keep: 0.5}, 200, false, 1},
		"applied":  {faultproxy.Applied{}, 0, false, 1},
		"reset":    {faultproxy.Reset{}, 0, false, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, calls := echo(t)
			proxy, client := start(t, target), localtest.Client(t)
			proxy.Set(faultproxy.Rule{Name: name, Path: "/_bulk", Times: 1, Fault: test.fault})
			status, body, err := post(t.Context(), client, proxy.URL()+"/_bulk")
			if status != test.status || (err == nil) != test.whole || test.whole != (len(body) == 1000) {
				t.Errorf("status %d, %d bytes, error %v", status, len(body), err)
			}
			if got := calls.Load(); got != test.reaches {
				t.Errorf("the service saw %d calls, want %d", got, test.reaches)
			}
			if times, _ := proxy.Count(name); times != 1 {
				t.Errorf("the log has %d faults: %+v", times, proxy.Log())
			}
			for _, path := range []string{"/_bulk", "/other"} { // used up, and not meant
				if status, body, err := post(t.Context(), client, proxy.URL()+path); status != 200 || len(body) != 1000 || err != nil {
					t.Errorf("a call that no rule matches: status %d, %d bytes, error %v", status, len(body), err)
				}
			}
		})
	}
}

func TestAppliedCallTimesOut(t *testing.T) {
	t.Parallel()
	target, calls := echo(t)
	proxy := start(t, target)
	proxy.Set(faultproxy.Rule{Name: "late", Fault: faultproxy.Applied{After: time.Hour}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // the caller loses patience when it was applied, however long that takes
		_ = poll.Every(ctx, time.Millisecond, func() (bool, error) { return calls.Load() > 0, nil })
		cancel()
	}()
	if _, _, err := post(ctx, localtest.Client(t), proxy.URL()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of a caller who has gone", err)
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("the service saw %d calls", got)
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	target, calls := echo(t)
	proxy := start(t, target)
	proxy.Set(faultproxy.Rule{Name: "some", Share: 0.3, Fault: faultproxy.Answer{Status: 503}})
	const all = 500
	client := localtest.Client(t)
	for range all {
		if _, _, err := post(t.Context(), client, proxy.URL()); err != nil {
			t.Fatal(err)
		}
	}
	times, _ := proxy.Count("some")
	if times < all/5 || times > all/5*2 || calls.Load() != int64(all-times) || proxy.Calls() != all {
		t.Errorf("%d of %d calls were refused, the service saw %d", times, all, calls.Load())
	}
}

// What PutRecords answers must be true of every position: what it says was
// taken is in the stream, what it says was not is not.
func TestRejectsEntriesOfPutRecords(t *testing.T) {
	t.Parallel()
	cfg := localtest.AWS(t)
	direct := kinesis.NewFromConfig(cfg)
	name := aws.String(localtest.Name(t, ""))
	if _, err := direct.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = direct.DeleteStream(context.WithoutCancel(t.Context()), &kinesis.DeleteStreamInput{StreamName: name})
	})
	if err := kinesis.NewStreamExistsWaiter(direct).Wait(t.Context(), &kinesis.DescribeStreamInput{StreamName: name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	proxy := start(t, *cfg.BaseEndpoint)
	cfg.BaseEndpoint = aws.String(proxy.URL())
	client := kinesis.NewFromConfig(cfg)
	proxy.Set(faultproxy.Rule{Name: "entries", Operation: "PutRecords", Fault: faultproxy.RejectEntries{Share: 0.3}})

	var entries []types.PutRecordsRequestEntry
	for i := range 100 {
		entries = append(entries, types.PutRecordsRequestEntry{Data: []byte(strconv.Itoa(i)), PartitionKey: aws.String("k")})
	}
	put, err := client.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: name, Records: entries})
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]string{} // by sequence number
	rejected := 0
	for i, r := range put.Records {
		if r.ErrorCode == nil {
			taken[*r.SequenceNumber] = strconv.Itoa(i)
			continue
		}
		rejected++
		if *r.ErrorCode != "ProvisionedThroughputExceededException" {
			t.Errorf("position %d was rejected with %s", i, *r.ErrorCode)
		}
	}
	_, logged := proxy.Count("entries")
	if len(put.Records) != 100 || rejected == 0 || rejected == 100 || logged != rejected || int(*put.FailedRecordCount) != rejected {
		t.Errorf("%d answers, %d rejected, the answer says %d and the log %d", len(put.Records), rejected, *put.FailedRecordCount, logged)
	}
	at, err := direct.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: name, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	read, err := direct.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: at.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Records) != len(taken) {
		t.Errorf("%d records are in the stream, %d were answered as taken", len(read.Records), len(taken))
	}
	for _, r := range read.Records {
		if taken[*r.SequenceNumber] != string(r.Data) {
			t.Errorf("%s holds %s, answered as %s", *r.SequenceNumber, r.Data, taken[*r.SequenceNumber])
		}
	}

	proxy.Set(faultproxy.Rule{Name: "throttle", Operation: "PutRecords", Fault: faultproxy.Throttle()})
	_, err = client.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: name, Records: entries[:1]}, func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
	var throttled *types.ProvisionedThroughputExceededException
	if !errors.As(err, &throttled) {
		t.Errorf("a throttled call fails with %v", err)
	}
}

func TestRejectsEntriesOfSendMessageBatch(t *testing.T) {
	t.Parallel()
	cfg := localtest.AWS(t)
	direct := sqs.NewFromConfig(cfg)
	queue, err := direct.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(localtest.Name(t, ""))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = direct.DeleteQueue(context.WithoutCancel(t.Context()), &sqs.DeleteQueueInput{QueueUrl: queue.QueueUrl})
	})
	proxy := start(t, *cfg.BaseEndpoint)
	cfg.BaseEndpoint = aws.String(proxy.URL())
	client := sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.DisableMessageChecksumValidation = false })
	proxy.Set(faultproxy.Rule{Name: "entries", Operation: "SendMessageBatch", Fault: faultproxy.RejectEntries{Share: 0.5}})
	successful, failed := 0, 0
	for range 5 {
		var entries []sqstypes.SendMessageBatchRequestEntry
		for i := range 10 {
			entries = append(entries, sqstypes.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String("m")})
		}
		sent, err := client.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: queue.QueueUrl, Entries: entries})
		if err != nil {
			t.Fatal(err)
		}
		if len(sent.Successful)+len(sent.Failed) != 10 {
			t.Errorf("%d sent and %d failed of 10", len(sent.Successful), len(sent.Failed))
		}
		successful += len(sent.Successful)
		failed += len(sent.Failed)
	}
	_, logged := proxy.Count("entries")
	if failed == 0 || successful == 0 || failed != logged {
		t.Errorf("%d sent, %d failed, the log says %d", successful, failed, logged)
	}
	held, err := direct.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameApproximateNumberOfMessages},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := held.Attributes["ApproximateNumberOfMessages"]; got != strconv.Itoa(successful) {
		t.Errorf("the queue holds %s messages, %d were answered as sent", got, successful)
	}
}
