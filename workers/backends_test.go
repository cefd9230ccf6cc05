package workers_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/deploy/local/localtest"
	"millrace/internal/config"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/workers"
)

func TestTheIntakeWorksOnceTheStreamIsFound(t *testing.T) {
	t.Parallel()
	cfg, name := localtest.AWS(t), localtest.Name(t, "found")
	b := workers.NewBackends(cfg, config.Resources{Stream: name, Queue: name, DeadLetters: name + "-dlq", Bucket: name}, stream.Settings{})
	answers := func(context.Context) error { return nil }
	var none *types.ResourceNotFoundException
	if err := b.FindStream(t.Context()); !errors.As(err, &none) {
		t.Errorf("a stream that is not there: %v", err)
	}
	if err := b.CheckStream(answers)(t.Context()); err == nil {
		t.Error("it is whole before the stream is found")
	}
	at := time.Now()
	record := [][]byte{telemetry.AppendRecord(nil, telemetry.Head{
		Index: telemetry.IndexName("log", at), ReceivedAt: at, Tenant: "t", ID: "a", Type: "log", Timestamp: at,
	}, []byte(`{"body":"x"}`))}
	if left, err := b.Intake.Put(t.Context(), "batch", record); len(left) != 1 || err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("with neither stream nor queue %v are left: %v", left, err)
	}
	streams := kinesis.NewFromConfig(cfg)
	if _, err := stream.Create(t.Context(), streams, name, 1, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = streams.DeleteStream(context.WithoutCancel(t.Context()), &kinesis.DeleteStreamInput{StreamName: &name})
	})
	if err := b.FindStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.CheckStream(answers)(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := b.Intake.Put(t.Context(), "batch", record); len(left) > 0 || err != nil {
		t.Errorf("with the stream %v are left: %v", left, err)
	}
	away := errors.New("it is away")
	if err := b.CheckStream(func(context.Context) error { return away })(t.Context()); !errors.Is(err, away) {
		t.Errorf("a stream that is found and does not answer: %v", err)
	}
}
