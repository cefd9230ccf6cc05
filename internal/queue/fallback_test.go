package queue_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/internal/queue"
)

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

func TestFallbackReturnsRecordsUnchanged(t *testing.T) {
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
			q := newTestQueue(t)
			f := q.open()
			rest, err := f.Send(t.Context(), records)
			if err != nil || len(rest) > 0 {
				t.Fatalf("%d positions were not taken, error %v", len(rest), err)
			}
			messages := q.take(f)
			q.wantContents(messages, records)
			for _, m := range messages {
				if m.ReceiveCount != 1 || time.Since(m.Sent).Abs() > time.Minute {
					t.Errorf("received %d times, sent %v", m.ReceiveCount, m.Sent)
				}
				if err := f.Delete(t.Context(), m); err != nil {
					t.Error(err)
				}
			}
			if keys := q.overflow.keys(); len(keys) > 0 {
				t.Errorf("left in S3: %q", keys)
			}
		})
	}
}

func TestFallbackHandlesEmptySendAndReceive(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f := q.open()
	if rest, err := f.Send(t.Context(), nil); err != nil || rest != nil {
		t.Errorf("sending nothing: %v, %v", rest, err)
	}
	if got, err := f.Receive(t.Context(), 10, 0, time.Minute); err != nil || len(got) != 0 {
		t.Errorf("receiving from an empty queue: %v, %v", got, err)
	}
	var missing *types.QueueDoesNotExist
	if _, err := queue.OpenFallback(t.Context(), q.client, q.name+"-2", q.overflow); !errors.As(err, &missing) {
		t.Errorf("opening what is not there: %v", err)
	}
}

func TestDescribeSaysHowMuchIsInAQueue(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f := q.open()
	for n := range 2 {
		if rest, err := f.Send(t.Context(), [][]byte{{byte(n)}}); err != nil || len(rest) > 0 {
			t.Fatalf("%d positions were not taken, error %v", len(rest), err)
		}
	}
	q.takeOne(f, time.Hour)
	if has, err := queue.Describe(t.Context(), q.client, q.name); err != nil || has.Messages != 1 || has.InFlight != 1 {
		t.Errorf("it has %+v, error %v", has, err)
	}
}

func TestCreateIsIdempotentAndKeepsMessagesForTwoWeeks(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	const retention = types.QueueAttributeNameMessageRetentionPeriod
	q.set(retention, "3600")
	q.post("kept")
	if err := queue.Create(t.Context(), q.client, q.name); err != nil {
		t.Fatal(err)
	}
	got, err := q.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Attributes[string(retention)] != "1209600" || got.Attributes["ApproximateNumberOfMessages"] != "1" || got.Attributes["RedrivePolicy"] != "" {
		t.Errorf("attributes %v", got.Attributes)
	}
}
