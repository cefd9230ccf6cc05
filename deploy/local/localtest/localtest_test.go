package localtest_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/deploy/local/localtest"
)

func TestServersAnswer(t *testing.T) {
	ctx := t.Context()
	for name, url := range map[string]string{"elasticsearch": localtest.Elasticsearch(t), "opensearch": localtest.OpenSearch(t)} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/_cluster/health", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := localtest.Client(t).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(body), `"status":"`) {
				t.Fatalf("answered %s, %v", body, err)
			}
		})
	}
	for name, config := range map[string]aws.Config{"aws": localtest.AWS(t), "kinesalite": localtest.Kinesalite(t)} {
		t.Run(name, func(t *testing.T) {
			if _, err := kinesis.NewFromConfig(config).ListStreams(ctx, &kinesis.ListStreamsInput{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if _, err := sqs.NewFromConfig(localtest.AWS(t)).ListQueues(ctx, &sqs.ListQueuesInput{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s3.NewFromConfig(localtest.AWS(t)).ListBuckets(ctx, &s3.ListBucketsInput{}); err != nil {
		t.Fatal(err)
	}
}

func TestNamespacesAreIsolated(t *testing.T) {
	first, second := localtest.TemporalNamespace(t, "Shard"), localtest.TemporalNamespace(t, "Shard")
	const id = "same"
	shard := temporal.NewSearchAttributeKeyKeyword("Shard")
	for _, options := range []client.Options{first, second} {
		_, err := localtest.TemporalClient(t, options).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: id, TaskQueue: "nobody-polls", WorkflowExecutionErrorWhenAlreadyStarted: true,
			TypedSearchAttributes: temporal.NewSearchAttributes(shard.ValueSet("shardId-000000000000")),
		}, "Anything")
		if err != nil {
			t.Fatalf("start a workflow in %s: %v", options.Namespace, err)
		}
	}
}

func TestNamesFitEveryService(t *testing.T) {
	t.Run("A long name, with _signs/ and more and more and more", func(t *testing.T) {
		fits := regexp.MustCompile(`^[a-z0-9][a-z0-9-]{2,47}$`)
		for _, prefix := range []string{"", "stream", strings.Repeat("long", 30), "_É"} {
			name := localtest.Name(t, prefix)
			if !fits.MatchString(name) {
				t.Errorf("%q does not fit", name)
			}
			if name == localtest.Name(t, prefix) {
				t.Errorf("%q came twice", name)
			}
		}
	})
}
