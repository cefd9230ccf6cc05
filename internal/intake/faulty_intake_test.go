package intake_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/deploy/local/localtest"
	"millrace/internal/intake"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
)

// deadLetters are DeadLetters in memory that can fail.
type deadLetters struct {
	mu   sync.Mutex
	dead map[string]string // record: code
	err  error
}

func (g *deadLetters) WriteIngest(_ context.Context, _ string, dead []intake.Refused) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return g.err
	}
	for _, d := range dead {
		g.dead[string(d.Data)] = d.Code
	}
	return nil
}

// faultyIntake is an Intake over a real stream and a real queue, each behind a
// proxy.
type faultyIntake struct {
	*testing.T
	*intake.Writer
	straight    *stream.Stream // past the proxy
	fallback    *queue.Fallback
	toStream    *faultproxy.Proxy
	toQueue     *faultproxy.Proxy
	deadLetters *deadLetters
}

type noOverflow struct{}

func (noOverflow) Put(context.Context, string, []byte) error   { return errors.New("no overflow here") }
func (noOverflow) Get(context.Context, string) ([]byte, error) { return nil, errors.New("no overflow") }
func (noOverflow) Delete(context.Context, string) error        { return nil }

func newFaultyIntake(t *testing.T) *faultyIntake {
	t.Helper()
	f := &faultyIntake{T: t, deadLetters: &deadLetters{dead: map[string]string{}}}
	cfg := localtest.AWS(t)
	name := localtest.Name(t, "")
	proxied := func() (*faultproxy.Proxy, aws.Config) {
		proxy, err := faultproxy.Start(t.Context(), *cfg.BaseEndpoint)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = proxy.Close() })
		through := cfg.Copy()
		through.BaseEndpoint = aws.String(proxy.URL())
		return proxy, through
	}
	direct := kinesis.NewFromConfig(cfg)
	if _, err := stream.Create(t.Context(), direct, name, 1, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = direct.DeleteStream(context.WithoutCancel(t.Context()), &kinesis.DeleteStreamInput{StreamName: &name})
	})
	var err error
	if f.straight, err = stream.Open(t.Context(), direct, name, stream.Settings{}); err != nil {
		t.Fatal(err)
	}
	queues := sqs.NewFromConfig(cfg)
	if err := queue.Create(t.Context(), queues, name); err != nil {
		t.Fatal(err)
	}
	if f.fallback, err = queue.OpenFallback(t.Context(), queues, name, noOverflow{}); err != nil {
		t.Fatal(err)
	}
	var throughStream, throughQueue aws.Config
	f.toStream, throughStream = proxied()
	f.toQueue, throughQueue = proxied()
	faulty, err := stream.Open(t.Context(), kinesis.NewFromConfig(throughStream), name, stream.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	faultyQueue, err := queue.OpenFallback(t.Context(), sqs.NewFromConfig(throughQueue), name, noOverflow{})
	if err != nil {
		t.Fatal(err)
	}
	f.Writer = intake.New(faulty, faultyQueue, f.deadLetters, 0)
	return f
}

// inStream reads all records of the stream, and how often each is there.
func (f *faultyIntake) inStream() map[string]int {
	f.Helper()
	found := map[string]int{}
	shards, err := f.straight.Shards(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	for _, shard := range shards {
		reader := f.straight.Reader(shard.ID, telemetry.Checkpoint{})
		defer reader.Close()
		for {
			page, err := reader.Next(f.Context())
			if err != nil {
				f.Fatal(err)
			}
			if len(page.Records) == 0 {
				break
			}
			for _, r := range page.Records {
				found[string(r.Data)]++
			}
		}
	}
	return found
}

func (f *faultyIntake) inQueue() map[string]int {
	f.Helper()
	found := map[string]int{}
	for {
		messages, err := f.fallback.Receive(f.Context(), 10, 0, time.Minute)
		if err != nil {
			f.Fatal(err)
		}
		if len(messages) == 0 {
			return found
		}
		for _, m := range messages {
			for _, r := range m.Records {
				found[string(r)]++
			}
		}
	}
}
