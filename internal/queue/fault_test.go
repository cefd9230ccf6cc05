package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/deploy/local/localtest"
	"millrace/internal/awshttp"
	"millrace/internal/pack"
	"millrace/internal/queue"
	"millrace/test/kit/faultproxy"
)

func pick(records [][]byte, positions []int) (picked [][]byte) {
	for _, at := range positions {
		picked = append(picked, records[at])
	}
	return picked
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

func TestSendReturnsOnlyRejectedPositions(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	q.set(types.QueueAttributeNameMaximumMessageSize, "16384")
	f, proxy := q.faulty()
	proxy.Set(faultproxy.Rule{Name: "entries", Operation: "SendMessageBatch", Fault: faultproxy.RejectEntries{Share: 0.4}})
	records := numbered(80, 4<<10) // two in a message, or so
	rest, err := f.Send(t.Context(), records)
	_, rejected := proxy.Count("entries")
	if rejected == 0 || err == nil || len(rest) == 0 || len(rest) == len(records) || !slices.IsSorted(rest) {
		t.Fatalf("%d entries were rejected, %d positions came back, error %v", rejected, len(rest), err)
	}
	if !strings.Contains(err.Error(), "ServiceUnavailable") {
		t.Errorf("error %v", err)
	}
	q.wantContents(append(q.take(f), queue.Message{Records: pick(records, rest)}), records)
}

func TestSendFailsFastWhenQueueIsAway(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faultproxy.Fault{
		"unavailable": faultproxy.AWSError(http.StatusServiceUnavailable, "ServiceUnavailable"),
		"throttled":   faultproxy.AWSError(http.StatusBadRequest, "RequestThrottled"),
		"no answer":   faultproxy.Reset{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := newTestQueue(t)
			f, proxy := q.faulty()
			proxy.Set(faultproxy.Rule{Name: name, Operation: "SendMessageBatch", Fault: fault})
			rest, err := f.Send(t.Context(), numbered(5, 100))
			if err == nil || !slices.Equal(rest, upTo(5)) {
				t.Errorf("positions %v came back, error %v", rest, err)
			}
			if times, _ := proxy.Count(name); times != 3 {
				t.Errorf("%d attempts", times)
			}
			proxy.Set()
			if messages := q.take(f); len(messages) > 0 {
				t.Errorf("%d messages are there", len(messages))
			}
		})
	}
}

func TestSendStopsWithItsContext(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f, proxy := q.faulty()
	proxy.Set(faultproxy.Rule{Name: "hangs", Fault: faultproxy.Delay{Before: time.Hour}})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if rest, err := f.Send(ctx, numbered(3, 10)); !errors.Is(err, context.DeadlineExceeded) || len(rest) != 3 {
		t.Errorf("positions %v, error %v", rest, err)
	}
	if _, err := f.Receive(ctx, 1, time.Hour, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// TestSendRepeatsAfterLostAnswer: what may be in the queue is sent again.
func TestSendRepeatsAfterLostAnswer(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f, proxy := q.faulty()
	proxy.Set(faultproxy.Rule{Name: "lost", Operation: "SendMessageBatch", Times: 1, Fault: faultproxy.Applied{}})
	records := numbered(5, 100)
	if rest, err := f.Send(t.Context(), records); err != nil || len(rest) > 0 {
		t.Fatalf("positions %v, error %v", rest, err)
	}
	q.wantContents(q.take(f), slices.Concat(records, records))
	proxy.Set(faultproxy.Rule{Name: "lost", Operation: "SendMessageBatch", Fault: faultproxy.Applied{}})
	if rest, err := f.Send(t.Context(), records); err == nil || len(rest) != 5 {
		t.Errorf("without any answer positions %v came back, error %v", rest, err)
	}
}

// TestSendTrustsOnlyProofOfStorage: an answer that says nothing of an entry,
// or has no message id for it, does not mean that it is safe.
func TestSendTrustsOnlyProofOfStorage(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f, proxy := q.faulty()
	proxy.Set(faultproxy.Rule{Name: "odd", Operation: "SendMessageBatch", Fault: faultproxy.Answer{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: `{"Successful":[{"Id":"0","MessageId":"m"},{"Id":"1"},{"Id":"7","MessageId":"m"},{"Id":"x","MessageId":"m"}],"Failed":[{"Id":"2","Code":"InternalError"}]}`,
	}})
	rest, err := f.Send(t.Context(), slices.Repeat([][]byte{make([]byte, 3<<20)}, 4)) // a message each, in one batch
	if err == nil || !slices.Equal(rest, []int{1, 2, 3}) {
		t.Errorf("positions %v came back, error %v", rest, err)
	}
}

// spy looks at every batch that is sent.
type spy struct {
	*testing.T
	limit int
	mu    sync.Mutex
	calls int
}

func (s *spy) Do(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".SendMessageBatch") {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(text))
		var call struct {
			Entries []struct{ MessageBody string }
		}
		if err := json.Unmarshal(text, &call); err != nil {
			return nil, err
		}
		size := 0
		for _, e := range call.Entries {
			size += len(e.MessageBody)
		}
		if len(call.Entries) == 0 || len(call.Entries) > 10 || size > s.limit {
			s.Errorf("a batch has %d entries and %d bytes", len(call.Entries), size)
		}
		s.mu.Lock()
		s.calls++
		s.mu.Unlock()
	}
	return localtest.Client(s).Do(r)
}

func TestSendKeepsToQueueLimits(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	const limit = 8 << 10
	q.set(types.QueueAttributeNameMaximumMessageSize, fmt.Sprint(limit))
	s := &spy{T: t, limit: limit}
	f := q.openWith(sqs.NewFromConfig(config(t), func(o *sqs.Options) { o.HTTPClient = awshttp.Wrap(s) }))
	large := numbered(3, limit)
	records := slices.Concat(numbered(500, 10), large[:1], numbered(60, 1000), large[1:], numbered(1, 0))
	if rest, err := f.Send(t.Context(), records); err != nil || len(rest) > 0 {
		t.Fatalf("positions %v, error %v", rest, err)
	}
	if got := len(q.overflow.keys()); got != len(large) {
		t.Errorf("%d records went to S3, want the %d that are too large", got, len(large))
	}
	messages := q.take(f)
	q.wantContents(messages, records)
	if s.calls < 2 || len(messages) > 40 {
		t.Errorf("%d messages in %d batches", len(messages), s.calls)
	}

	// An operator lowers the limit: the call that meets it fails, the next one fits.
	s.limit = limit
	q.set(types.QueueAttributeNameMaximumMessageSize, "2048")
	records = numbered(10, 1000)
	rest, err := f.Send(t.Context(), records)
	if err == nil || len(rest) == 0 {
		t.Fatalf("messages above the limit were taken")
	}
	if again, err := f.Send(t.Context(), pick(records, rest)); err != nil {
		t.Errorf("positions %v, error %v", again, err)
	}
	q.wantContents(q.take(f), records)
}

func TestBatchesHoldUpToTenMessages(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	s := &spy{T: t, limit: 1 << 20}
	dlq, err := queue.OpenDeadLetters(t.Context(), sqs.NewFromConfig(config(t), func(o *sqs.Options) { o.HTTPClient = awshttp.Wrap(s) }), q.name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dlq.Send(t.Context(), slices.Repeat([]queue.DeadLetter{lambdasLetter()}, 21)); err != nil {
		t.Error(err)
	}
	if s.calls != 3 {
		t.Errorf("21 letters went in %d batches", s.calls)
	}
}

func TestUnwrittenOverflowIsNotReferenced(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f := q.open()
	down := errors.New("S3 is away")
	q.overflow.fail(down)
	records := slices.Concat(numbered(2, 100), numbered(1, 2<<20), numbered(3, 100))
	rest, err := f.Send(t.Context(), records)
	if !errors.Is(err, down) || !slices.Equal(rest, []int{2}) {
		t.Errorf("positions %v came back, error %v", rest, err)
	}
	q.wantContents(q.take(f), slices.Concat(records[:2], records[3:]))
}

func TestUnreadableOverflowIsRedelivered(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f := q.open()
	large := numbered(1, 2<<20)
	if _, err := f.Send(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	down := errors.New("S3 is away")
	q.overflow.fail(down)
	if got, err := f.Receive(t.Context(), 10, 0, time.Second); !errors.Is(err, down) || len(got) > 0 {
		t.Errorf("alone: %d messages, error %v", len(got), err)
	}
	small := numbered(1, 10)
	if _, err := f.Send(t.Context(), small); err != nil {
		t.Fatal(err)
	}
	var got []queue.Message
	for len(got) == 0 { // until it comes, with the other one or without
		var err error
		if got, err = f.Receive(t.Context(), 10, 20*time.Second, time.Second); err != nil && !errors.Is(err, down) {
			t.Fatal(err)
		}
	}
	q.wantContents(got, small)
	q.overflow.fail(nil)
	for _, m := range got {
		_ = f.Delete(t.Context(), m) // it may be visible again
	}
	q.wantContents([]queue.Message{q.takeOther(f, got[0].ID)}, large)
}

func TestUnreadableMessagesAreDamaged(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f := q.open()
	good := numbered(3, 10)
	blob := pack.Pack(good)
	encoded := func(v map[string]any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	q.overflow.objects["broken"] = blob[:len(blob)-5]
	bad := []string{
		"hunter2",
		`{"requestContext":{}}`,
		"null",
		encoded(map[string]any{"millrace": 2, "records": 3, "pack": blob}), // a later format
		encoded(map[string]any{"millrace": 1, "records": 3}),
		encoded(map[string]any{"millrace": 1, "records": 3, "pack": blob, "overflow": "both"}),
		encoded(map[string]any{"millrace": 1, "records": 3, "pack": "hunter2!"}),
		encoded(map[string]any{"millrace": 1, "records": 3, "pack": blob[:len(blob)-5]}),
		encoded(map[string]any{"millrace": 1, "records": 4, "pack": blob}), // one is missing
		encoded(map[string]any{"millrace": 1, "records": 3, "overflow": "broken"}),
	}
	for _, text := range bad {
		q.post(text)
	}
	if _, err := f.Send(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	var bodies []string
	var whole []queue.Message
	for _, m := range q.take(f) {
		if m.Damaged == nil {
			whole = append(whole, m)
			continue
		}
		if len(m.Records) > 0 || m.ID == "" || errors.Is(m.Damaged, queue.ErrGone) || strings.Contains(m.Damaged.Error(), "hunter2") {
			t.Errorf("%d records, error %v", len(m.Records), m.Damaged)
		}
		bodies = append(bodies, m.Body)
		if err := f.Delete(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
	q.wantContents(whole, good)
	slices.Sort(bodies)
	slices.Sort(bad)
	if !slices.Equal(bodies, bad) {
		t.Errorf("damaged are %q, want %q", bodies, bad)
	}
	if !slices.Equal(q.overflow.keys(), []string{"broken"}) {
		t.Error("the overflow object of a damaged message went with it")
	}
}

// TestSecondDeliveryOfOverflowIsReported: another worker redrove the message, and
// this is another copy of it.
func TestSecondDeliveryOfOverflowIsReported(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f := q.open()
	if _, err := f.Send(t.Context(), numbered(1, 2<<20)); err != nil {
		t.Fatal(err)
	}
	if err := q.overflow.Delete(t.Context(), q.overflow.keys()[0]); err != nil {
		t.Fatal(err)
	}
	m := q.takeOne(f, time.Minute)
	if !errors.Is(m.Damaged, queue.ErrGone) || !errors.Is(m.Damaged, fs.ErrNotExist) || len(m.Records) > 0 {
		t.Errorf("%d records, error %v", len(m.Records), m.Damaged)
	}
	if err := f.Delete(t.Context(), m); err != nil {
		t.Error(err)
	}
}

func TestDeleteRemovesMessageBeforeOverflow(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f, proxy := q.faulty()
	if _, err := f.Send(t.Context(), numbered(1, 2<<20)); err != nil {
		t.Fatal(err)
	}
	m := q.takeOne(f, time.Minute)
	proxy.Set(faultproxy.Rule{Name: "refused", Operation: "DeleteMessage", Fault: faultproxy.AWSError(http.StatusForbidden, "AccessDenied")})
	if err := f.Delete(t.Context(), m); err == nil || errors.Is(err, queue.ErrNotHeld) {
		t.Errorf("error %v", err)
	}
	if len(q.overflow.keys()) != 1 {
		t.Fatal("the overflow object is gone, the message is not")
	}
	proxy.Set()
	down := errors.New("S3 is away")
	q.overflow.fail(down)
	if err := f.Delete(t.Context(), m); !errors.Is(err, down) {
		t.Errorf("error %v", err)
	}
	q.overflow.fail(nil)
	if got, err := f.Receive(t.Context(), 1, 0, time.Minute); err != nil || len(got) > 0 {
		t.Errorf("the message is still there: %d, %v", len(got), err)
	}
}

func TestExtendKeepsMessageHidden(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f := q.open()
	records := numbered(3, 10)
	if _, err := f.Send(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	first := q.takeOne(f, time.Second)
	if err := f.Extend(t.Context(), first, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Receive(t.Context(), 10, 2*time.Second, time.Minute); err != nil || len(got) > 0 {
		t.Fatalf("%d messages came in spite of the extension, error %v", len(got), err)
	}
	if err := f.Extend(t.Context(), first, 0); err != nil {
		t.Fatal(err)
	}
	second := q.takeOne(f, time.Minute)
	q.wantContents([]queue.Message{second}, records)
	if second.ReceiveCount != 2 || second.ID != first.ID {
		t.Errorf("received %d times, id %s, then %s", second.ReceiveCount, first.ID, second.ID)
	}
	// The first holder is too late.
	if err := f.Extend(t.Context(), first, time.Minute); !errors.Is(err, queue.ErrNotHeld) {
		t.Errorf("extending: %v", err)
	}
	if err := f.Delete(t.Context(), first); !errors.Is(err, queue.ErrNotHeld) {
		t.Errorf("deleting: %v", err)
	}
	if err := f.Delete(t.Context(), second); err != nil {
		t.Error(err)
	}
}

func TestMessageReappearsWhenVisibilityEnds(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	f := q.open()
	if _, err := f.Send(t.Context(), numbered(1, 10)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	q.takeOne(f, 1100*time.Millisecond) // rounded up to 2 s
	if m := q.takeOne(f, time.Minute); m.ReceiveCount != 2 || time.Since(begun) < 1900*time.Millisecond {
		t.Errorf("received %d times, again after %s", m.ReceiveCount, time.Since(begun))
	}
}

func TestUnsentDeadLettersAreErrors(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	cfg := config(t)
	proxy, err := faultproxy.Start(t.Context(), *cfg.BaseEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	cfg.BaseEndpoint = aws.String(proxy.URL())
	dlq, err := queue.OpenDeadLetters(t.Context(), sqs.NewFromConfig(cfg), q.name)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Set(faultproxy.Rule{Name: "entries", Operation: "SendMessageBatch", Fault: faultproxy.RejectEntries{Share: 1}})
	letters := []queue.DeadLetter{lambdasLetter(), lambdasLetter()}
	if _, err := dlq.Send(t.Context(), letters); err == nil || !strings.Contains(err.Error(), "2 of 2") {
		t.Errorf("error %v", err)
	}
	proxy.Set()
	if _, err := dlq.Send(t.Context(), letters); err != nil {
		t.Error(err)
	}
	if _, err := dlq.Send(t.Context(), nil); err != nil {
		t.Errorf("sending nothing: %v", err)
	}
}

// A queue that is away, or not made yet, when a process starts is used as soon
// as it is there.
func TestQueueIsFoundOnceItExists(t *testing.T) {
	t.Parallel()
	client, name := sqs.NewFromConfig(localtest.AWS(t)), localtest.Name(t, "later")
	f, letters := queue.NewFallback(client, name, nil), queue.NewDeadLetters(client, name)
	records := numbered(3, 100)
	missing := func(what string, err error) {
		t.Helper()
		var none *types.QueueDoesNotExist
		if !errors.As(err, &none) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", what, err)
		}
	}
	rest, err := f.Send(t.Context(), records)
	if missing("send", err); !slices.Equal(rest, upTo(3)) {
		t.Errorf("positions %v came back", rest)
	}
	_, err = f.Receive(t.Context(), 1, 0, time.Minute)
	missing("receive", err)
	_, err = letters.Receive(t.Context(), 1, 0, time.Minute)
	missing("receive letters", err)
	if err := queue.Create(t.Context(), client, name); err != nil {
		t.Fatal(err)
	}
	if rest, err := f.Send(t.Context(), records); err != nil || len(rest) > 0 {
		t.Fatalf("positions %v, error %v", rest, err)
	}
	got, err := f.Receive(t.Context(), 10, time.Second, time.Minute)
	if err != nil || len(got) != 1 || len(got[0].Records) != 3 {
		t.Fatalf("received %v, error %v", got, err)
	}
	if err := f.Delete(t.Context(), got[0]); err != nil {
		t.Error(err)
	}
}
