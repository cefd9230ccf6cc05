package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/deploy/local/localtest"
	"millrace/internal/awshttp"
	"millrace/internal/queue"
)

// closet is an Overflow in memory that can fail.
type closet struct {
	mu      sync.Mutex
	objects map[string][]byte
	err     error // of every call
}

func (c *closet) Put(_ context.Context, key string, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.objects[key] = body
	}
	return c.err
}

func (c *closet) Get(_ context.Context, key string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if body, has := c.objects[key]; has || c.err != nil {
		return body, c.err
	}
	return nil, fs.ErrNotExist
}

func (c *closet) Delete(_ context.Context, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		delete(c.objects, key)
	}
	return c.err
}

func (c *closet) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *closet) keys() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.objects))
}

// config is where the service is.
func config(t *testing.T) aws.Config {
	cfg := localtest.AWS(t)
	cfg.HTTPClient = awshttp.Wrap(nil)
	return cfg
}

// desk is a new queue, and what its tests need.
type desk struct {
	*testing.T
	client *sqs.Client // straight to the service
	name   string
	url    string
	closet *closet
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, client: sqs.NewFromConfig(config(t)), name: localtest.Name(t, "queue"), closet: &closet{objects: map[string][]byte{}}}
	if err := queue.Create(t.Context(), d.client, d.name); err != nil {
		t.Fatal(err)
	}
	found, err := d.client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &d.name})
	if err != nil {
		t.Fatal(err)
	}
	d.url = *found.QueueUrl
	t.Cleanup(func() {
		_, _ = d.client.DeleteQueue(context.WithoutCancel(t.Context()), &sqs.DeleteQueueInput{QueueUrl: &d.url})
	})
	return d
}

func (d *desk) open() *queue.Fallback {
	d.Helper()
	return d.openWith(d.client)
}

func (d *desk) openWith(client *sqs.Client) *queue.Fallback {
	d.Helper()
	f, err := queue.OpenFallback(d.Context(), client, d.name, d.closet)
	if err != nil {
		d.Fatal(err)
	}
	return f
}

// set sets an attribute of the queue.
func (d *desk) set(name types.QueueAttributeName, value string) {
	d.Helper()
	_, err := d.client.SetQueueAttributes(d.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &d.url, Attributes: map[string]string{string(name): value}})
	if err != nil {
		d.Fatal(err)
	}
}

// post sends a message that no Fallback made.
func (d *desk) post(body string) {
	d.Helper()
	if _, err := d.client.SendMessage(d.Context(), &sqs.SendMessageInput{QueueUrl: &d.url, MessageBody: &body}); err != nil {
		d.Fatal(err)
	}
}

// take receives until there is nothing more.
func (d *desk) take(f *queue.Fallback) (messages []queue.Message) {
	d.Helper()
	for {
		got, err := f.Receive(d.Context(), 10, 0, time.Hour)
		if err != nil {
			d.Fatal(err)
		}
		if len(got) == 0 {
			return messages
		}
		messages = append(messages, got...)
	}
}

// takeOne waits for one message.
func (d *desk) takeOne(f *queue.Fallback, visibility time.Duration) queue.Message {
	d.Helper()
	got, err := f.Receive(d.Context(), 1, 20*time.Second, visibility)
	if err != nil || len(got) != 1 {
		d.Fatalf("received %d messages, error %v", len(got), err)
	}
	return got[0]
}

// takeOther waits for a message that is not the one of that id.
func (d *desk) takeOther(f *queue.Fallback, id string) queue.Message {
	d.Helper()
	for {
		if m := d.takeOne(f, time.Minute); m.ID != id {
			return m
		}
	}
}

// numbered makes records of a size that hardly compress, each with its number.
func numbered(count, size int) [][]byte {
	random := rand.NewChaCha8([32]byte{1})
	records := make([][]byte, count)
	for i := range records {
		filler := make([]byte, size)
		_, _ = random.Read(filler) // never fails
		records[i] = fmt.Appendf(nil, "%d:%s", i, filler)
	}
	return records
}

// contents sorts the records of whole messages.
func (d *desk) contents(messages []queue.Message) (records [][]byte) {
	d.Helper()
	for _, m := range messages {
		if m.Damaged != nil {
			d.Errorf("message %s: %v", m.ID, m.Damaged)
		}
		records = append(records, m.Records...)
	}
	slices.SortFunc(records, bytes.Compare)
	return records
}

func (d *desk) wantContents(messages []queue.Message, want [][]byte) {
	d.Helper()
	want = slices.SortedFunc(slices.Values(want), bytes.Compare)
	if got := d.contents(messages); !slices.EqualFunc(got, want, bytes.Equal) {
		d.Errorf("got %d records, want %d, or they are others", len(got), len(want))
	}
}

func TestRecordsComeOutAsTheyWentIn(t *testing.T) {
	t.Parallel()
	for name, records := range map[string][][]byte{
		"few":                        {[]byte(`{"a":"ü\n"}`), {}, {0, 0xff}},
		"many that compress":         slices.Repeat([][]byte{bytes.Repeat([]byte(`{"name":"span"}`), 30)}, 50_000), // 22 MB
		"a little over a message":    numbered(3, 300<<10),
		"a message each":             numbered(3, 700<<10),
		"one too large for messages": append(numbered(5, 100), numbered(1, 1<<20)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			f := d.open()
			rest, err := f.Send(t.Context(), records)
			if err != nil || len(rest) > 0 {
				t.Fatalf("%d positions were not taken, error %v", len(rest), err)
			}
			messages := d.take(f)
			d.wantContents(messages, records)
			for _, m := range messages {
				if m.ReceiveCount != 1 || time.Since(m.Sent).Abs() > time.Minute {
					t.Errorf("received %d times, sent %v", m.ReceiveCount, m.Sent)
				}
				if err := f.Delete(t.Context(), m); err != nil {
					t.Error(err)
				}
			}
			if keys := d.closet.keys(); len(keys) > 0 {
				t.Errorf("left in S3: %q", keys)
			}
		})
	}
}

func TestNothingToSendOrReceive(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f := d.open()
	if rest, err := f.Send(t.Context(), nil); err != nil || rest != nil {
		t.Errorf("sending nothing: %v, %v", rest, err)
	}
	if got, err := f.Receive(t.Context(), 10, 0, time.Minute); err != nil || len(got) != 0 {
		t.Errorf("receiving from an empty queue: %v, %v", got, err)
	}
	var missing *types.QueueDoesNotExist
	if _, err := queue.OpenFallback(t.Context(), d.client, d.name+"-2", d.closet); !errors.As(err, &missing) {
		t.Errorf("opening what is not there: %v", err)
	}
}

func TestCreateIsIdempotentAndKeepsMessagesForTwoWeeks(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const retention = types.QueueAttributeNameMessageRetentionPeriod
	d.set(retention, "3600")
	d.post("kept")
	if err := queue.Create(t.Context(), d.client, d.name); err != nil {
		t.Fatal(err)
	}
	got, err := d.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &d.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Attributes[string(retention)] != "1209600" || got.Attributes["ApproximateNumberOfMessages"] != "1" || got.Attributes["RedrivePolicy"] != "" {
		t.Errorf("attributes %v", got.Attributes)
	}
}
