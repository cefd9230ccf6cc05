package queue_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/deploy/local/localtest"
	"millrace/internal/awshttp"
	"millrace/internal/queue"
	"millrace/test/kit/faultproxy"
)

// config is where the service is.
func config(t *testing.T) aws.Config {
	cfg := localtest.AWS(t)
	cfg.HTTPClient = awshttp.Wrap(nil)
	return cfg
}

// testQueue is a new queue, with what its tests need.
type testQueue struct {
	*testing.T
	client   *sqs.Client // straight to the service
	name     string
	url      string
	overflow *fakeOverflow
}

func newTestQueue(t *testing.T) *testQueue {
	t.Helper()
	q := &testQueue{T: t, client: sqs.NewFromConfig(config(t)), name: localtest.Name(t, "queue"), overflow: &fakeOverflow{objects: map[string][]byte{}}}
	if err := queue.Create(t.Context(), q.client, q.name); err != nil {
		t.Fatal(err)
	}
	found, err := q.client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &q.name})
	if err != nil {
		t.Fatal(err)
	}
	q.url = *found.QueueUrl
	t.Cleanup(func() {
		_, _ = q.client.DeleteQueue(context.WithoutCancel(t.Context()), &sqs.DeleteQueueInput{QueueUrl: &q.url})
	})
	return q
}

func (q *testQueue) open() *queue.Fallback {
	q.Helper()
	return q.openWith(q.client)
}

func (q *testQueue) openWith(client *sqs.Client) *queue.Fallback {
	q.Helper()
	f, err := queue.OpenFallback(q.Context(), client, q.name, q.overflow)
	if err != nil {
		q.Fatal(err)
	}
	return f
}

// faulty opens the queue through a proxy.
func (q *testQueue) faulty() (*queue.Fallback, *faultproxy.Proxy) {
	q.Helper()
	cfg := config(q.T)
	proxy, err := faultproxy.Start(q.Context(), *cfg.BaseEndpoint)
	if err != nil {
		q.Fatal(err)
	}
	q.Cleanup(func() { _ = proxy.Close() })
	cfg.BaseEndpoint = aws.String(proxy.URL())
	// Whatever the client is set to, the queue has bounds of its own.
	return q.openWith(sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.RetryMaxAttempts = 9 })), proxy
}

// set sets an attribute of the queue.
func (q *testQueue) set(name types.QueueAttributeName, value string) {
	q.Helper()
	_, err := q.client.SetQueueAttributes(q.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &q.url, Attributes: map[string]string{string(name): value}})
	if err != nil {
		q.Fatal(err)
	}
}

// post sends a message that no Fallback made.
func (q *testQueue) post(body string) {
	q.Helper()
	if _, err := q.client.SendMessage(q.Context(), &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body}); err != nil {
		q.Fatal(err)
	}
}

// take receives until there is nothing more.
func (q *testQueue) take(f *queue.Fallback) (messages []queue.Message) {
	q.Helper()
	for {
		got, err := f.Receive(q.Context(), 10, 0, time.Hour)
		if err != nil {
			q.Fatal(err)
		}
		if len(got) == 0 {
			return messages
		}
		messages = append(messages, got...)
	}
}

// takeOne waits for one message.
func (q *testQueue) takeOne(f *queue.Fallback, visibility time.Duration) queue.Message {
	q.Helper()
	got, err := f.Receive(q.Context(), 1, 20*time.Second, visibility)
	if err != nil || len(got) != 1 {
		q.Fatalf("received %d messages, error %v", len(got), err)
	}
	return got[0]
}

// takeOther waits for a message that is not the one of that id.
func (q *testQueue) takeOther(f *queue.Fallback, id string) queue.Message {
	q.Helper()
	for {
		if m := q.takeOne(f, time.Minute); m.ID != id {
			return m
		}
	}
}

// contents sorts the records of whole messages.
func (q *testQueue) contents(messages []queue.Message) (records [][]byte) {
	q.Helper()
	for _, m := range messages {
		if m.Damaged != nil {
			q.Errorf("message %s: %v", m.ID, m.Damaged)
		}
		records = append(records, m.Records...)
	}
	slices.SortFunc(records, bytes.Compare)
	return records
}

func (q *testQueue) wantContents(messages []queue.Message, want [][]byte) {
	q.Helper()
	want = slices.SortedFunc(slices.Values(want), bytes.Compare)
	if got := q.contents(messages); !slices.EqualFunc(got, want, bytes.Equal) {
		q.Errorf("got %d records, want %d, or they are others", len(got), len(want))
	}
}
