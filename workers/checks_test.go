package workers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/workers"
)

func TestChecksNameWhatIsMissing(t *testing.T) {
	t.Parallel()
	cfg, name := localtest.AWS(t), localtest.Name(t, "checks")
	names := config.Resources{Stream: name, Queue: name, DeadLetters: name + "-dlq", Bucket: name}
	look := func(what string) string {
		if err := workers.Checks(cfg, names)[what](t.Context()); err != nil {
			return err.Error()
		}
		return ""
	}
	for what, want := range map[string]string{
		workers.Kinesis: "look for stream " + name, workers.SQS: "look for queue " + name, workers.S3: "look for bucket " + name,
	} {
		if got := look(what); !strings.Contains(got, want) {
			t.Errorf("without it, %s says %q", what, got)
		}
	}
	queues := sqs.NewFromConfig(cfg)
	if _, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &names.Queue}); err != nil {
		t.Fatal(err)
	}
	if got := look(workers.SQS); !strings.Contains(got, names.DeadLetters) {
		t.Errorf("without the dead-letter queue, it says %q", got)
	}
	if _, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &names.DeadLetters}); err != nil {
		t.Fatal(err)
	}
	if _, err := kinesis.NewFromConfig(cfg).CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Create(t.Context(), config.S3(cfg), name); err != nil {
		t.Fatal(err)
	}
	for what := range workers.Checks(cfg, names) {
		if got := look(what); got != "" {
			t.Errorf("all is there, and %s says %q", what, got)
		}
	}
}

// TestTheCheckOfShardsWarnsBeforeTheLimit, and says what to do.
func TestTheCheckOfShardsWarnsBeforeTheLimit(t *testing.T) {
	t.Parallel()
	for room, want := range map[index.Room]string{
		{Limit: 1000, Used: 900}: "", {Limit: 1000, Used: 901}: "the cluster has 901 of 1000 shards: delete old indices",
	} {
		err := workers.Room(func(context.Context) (index.Room, error) { return room, nil })(t.Context())
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("with %+v it says %v", room, err)
		}
	}
	away := errors.New("it does not answer")
	if err := workers.Room(func(context.Context) (index.Room, error) { return index.Room{}, away })(t.Context()); !errors.Is(err, away) {
		t.Errorf("a cluster that does not answer: %v", err)
	}
}
