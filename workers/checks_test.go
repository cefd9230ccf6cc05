package workers_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/config"
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
