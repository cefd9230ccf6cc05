package queue_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/internal/queue"
)

// lambdas is what AWS Lambda sends; the example of its developer guide.
const lambdas = `{
    "requestContext": {
        "requestId": "c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5",
        "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:myfunction",
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 1
    },
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    "version": "1.0",
    "timestamp": "2019-11-14T00:38:06.021Z",
    "KinesisBatchInfo": {
        "shardId": "shardId-000000000001",
        "startSequenceNumber": "49601189658422359378836298521827638475320189012309704722",
        "endSequenceNumber": "49601189658422359378836298522902373528957594348623495186",
        "approximateArrivalOfFirstRecord": "2019-11-14T00:38:04.835Z",
        "approximateArrivalOfLastRecord": "2019-11-14T00:38:05.580Z",
        "batchSize": 500,
        "streamArn": "arn:aws:kinesis:us-east-2:123456789012:stream/mystream"
    }
}`

func at(text string) queue.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return queue.Time{Time: t}
}

func lambdasLetter() queue.DeadLetter {
	return queue.DeadLetter{
		RequestContext: queue.RequestContext{
			RequestID: "c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5", FunctionARN: "arn:aws:lambda:us-east-2:123456789012:function:myfunction",
			Condition: queue.RetriesExhausted, ApproximateInvokeCount: 1,
		},
		ResponseContext: queue.ResponseContext{StatusCode: 200, ExecutedVersion: "$LATEST", FunctionError: "Unhandled"},
		Version:         "1.0",
		Timestamp:       at("2019-11-14T00:38:06.021Z"),
		Batch: &queue.KinesisBatchInfo{
			ShardID: "shardId-000000000001",
			First:   "49601189658422359378836298521827638475320189012309704722", Last: "49601189658422359378836298522902373528957594348623495186",
			FirstArrival: at("2019-11-14T00:38:04.835Z"), LastArrival: at("2019-11-14T00:38:05.580Z"),
			Size: 500, StreamARN: "arn:aws:kinesis:us-east-2:123456789012:stream/mystream",
		},
	}
}

func TestLambdaDeadLettersAreParsed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want func(*queue.DeadLetter)
	}{
		"as documented": {lambdas, func(*queue.DeadLetter) {}},
		"unknown members": {
			strings.NewReplacer(`"batchSize"`, `"new":{"a":[1]},"batchSize"`, `"version"`, `"payload":"…","version"`).Replace(lambdas),
			func(*queue.DeadLetter) {},
		},
		"nulls": {
			strings.NewReplacer(`"Unhandled"`, "null", `"2019-11-14T00:38:04.835Z"`, "null", `"condition": "RetryAttemptsExhausted"`, `"condition": null`).Replace(lambdas),
			func(l *queue.DeadLetter) {
				l.ResponseContext.FunctionError, l.RequestContext.Condition, l.Batch.FirstArrival = "", "", queue.Time{}
			},
		},
		"no response": {
			strings.Replace(lambdas, `{"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}`, "null", 1),
			func(l *queue.DeadLetter) { l.ResponseContext = queue.ResponseContext{} },
		},
	} {
		want := lambdasLetter()
		c.want(&want)
		if got, err := queue.ParseDeadLetter([]byte(c.text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read as\n%+v %+v, want\n%+v %+v, error %v", name, got, got.Batch, want, want.Batch, err)
		}
	}
}

func TestOtherMessagesAreNoDeadLetters(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":                "",
		"not JSON":             "hunter2",
		"null":                 "null",
		"another object":       `{"Records":[]}`,
		"of a DynamoDB stream": strings.Replace(lambdas, "KinesisBatchInfo", "DDBStreamBatchInfo", 1),
		"without a position":   strings.Replace(lambdas, "startSequenceNumber", "start", 1),
		"another type":         strings.Replace(lambdas, "500", `"hunter2"`, 1),
	} {
		if _, err := queue.ParseDeadLetter([]byte(text)); !errors.Is(err, queue.ErrNotDeadLetter) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// sendLetters sends letters and returns the bodies that arrive, in no order.
func (q *testQueue) sendLetters(letters ...queue.DeadLetter) (bodies []string) {
	q.Helper()
	dlq, err := queue.OpenDeadLetters(q.Context(), q.client, q.name)
	if err != nil {
		q.Fatal(err)
	}
	if _, err := dlq.Send(q.Context(), letters); err != nil {
		q.Fatal(err)
	}
	for {
		got, err := q.client.ReceiveMessage(q.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q.url, MaxNumberOfMessages: 10, VisibilityTimeout: 3600})
		if err != nil {
			q.Fatal(err)
		}
		if len(got.Messages) == 0 {
			return bodies
		}
		for _, m := range got.Messages {
			bodies = append(bodies, *m.Body)
		}
	}
}

func TestDeadLetterRoundTrips(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	want := lambdasLetter()
	want.Millrace = &queue.DeadRecords{
		Ledger:  "ledger/open/mystream/shardId-000000000001/1-2.json",
		Records: []queue.DeadRecord{{ID: "a", Type: "span", Tenant: "acme", Error: queue.Reason{Type: "mapper_parsing_exception", Reason: "failed"}}},
	}
	bodies := q.sendLetters(want)
	if len(bodies) != 1 {
		t.Fatalf("%d messages", len(bodies))
	}
	if got, err := queue.ParseDeadLetter([]byte(bodies[0])); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read as %+v, error %v", got, err)
	}
	// What Lambda's consumers look for has the same names and values.
	var ours, theirs map[string]any
	if err := errors.Join(json.Unmarshal([]byte(bodies[0]), &ours), json.Unmarshal([]byte(lambdas), &theirs)); err != nil {
		t.Fatal(err)
	}
	if _, has := ours["millrace"]; !has {
		t.Error("the letter has no member of ours")
	}
	if delete(ours, "millrace"); !reflect.DeepEqual(ours, theirs) {
		t.Errorf("the letter is\n%v, want\n%v", ours, theirs)
	}
}

func TestDeadLettersFitMessagesAndBatches(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	const limit = 4096
	q.set(types.QueueAttributeNameMaximumMessageSize, fmt.Sprint(limit))
	var letters []queue.DeadLetter
	for n := range 25 { // the n-th has room for other numbers of records
		l := lambdasLetter()
		l.Millrace = &queue.DeadRecords{Ledger: fmt.Sprint(n), Records: []queue.DeadRecord{}}
		for i := range 20 * n {
			l.Millrace.Records = append(l.Millrace.Records, queue.DeadRecord{ID: fmt.Sprint(i), Error: queue.Reason{Reason: strings.Repeat("ü", n)}})
		}
		letters = append(letters, l)
	}
	dlq, err := queue.OpenDeadLetters(t.Context(), q.client, q.name)
	if err != nil {
		t.Fatal(err)
	}
	bodies := q.sendLetters(letters...)
	if len(bodies) != len(letters) {
		t.Fatalf("%d of %d letters came", len(bodies), len(letters))
	}
	cut := 0
	for _, text := range bodies {
		l, err := queue.ParseDeadLetter([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		shown, omitted := len(l.Millrace.Records), l.Millrace.Omitted
		var n int
		if _, err := fmt.Sscan(l.Millrace.Ledger, &n); err != nil {
			t.Fatal(err)
		}
		if fits := dlq.Fits(letters[n]); len(text) > limit || fits && (shown != 20*n || omitted != 0) || !fits && (shown != 0 || omitted != 20*n) {
			t.Errorf("letter %d has %d bytes, shows %d records and leaves out %d", n, len(text), shown, omitted)
		}
		if omitted > 0 {
			cut++
		}
	}
	if cut == 0 || cut == len(letters) {
		t.Errorf("%d of %d letters were cut: that shows nothing", cut, len(letters))
	}
}
