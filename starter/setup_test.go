package main

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/deploy/local/localtest"
	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/stream"
	"millrace/workflows"
)

// localAWS is the environment for the local servers.
func localAWS(t *testing.T) []string {
	t.Helper()
	cfg := localtest.AWS(t)
	credentials, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"AWS_ENDPOINT_URL=" + *cfg.BaseEndpoint, "AWS_REGION=" + cfg.Region,
		"AWS_ACCESS_KEY_ID=" + credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + credentials.SecretAccessKey,
	}
}

// removeLater removes a stream, and buckets by its name and others.
func removeLater(t *testing.T, name string, more ...string) {
	t.Helper()
	cfg := localtest.AWS(t)
	t.Cleanup(func() {
		ctx := context.Background()
		_, _ = kinesis.NewFromConfig(cfg).DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &name})
		for _, bucket := range append(more, name) {
			_, _ = config.S3(cfg).DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
		}
	})
}

func TestSetupIsIdempotent(t *testing.T) {
	t.Parallel()
	options, name := localtest.TemporalNamespace(t), localtest.Name(t, "")
	o := newOperator(t, append(localAWS(t), "TEMPORAL_ADDRESS="+options.HostPort, "TEMPORAL_NAMESPACE="+options.Namespace,
		"MILLRACE_STREAM="+name, "MILLRACE_QUEUE="+name, "MILLRACE_DLQ="+name+"-dlq", "MILLRACE_BUCKET="+name, "MILLRACE_BACKUP_BUCKET="+name+"-backup",
		"MILLRACE_ELASTICSEARCH_URL="+localtest.Elasticsearch(t))...)
	cfg := localtest.AWS(t)
	streams, queues := kinesis.NewFromConfig(cfg), sqs.NewFromConfig(cfg)
	buckets := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	removeLater(t, name, name+"-backup")

	// Tests that run at the same time install the same templates.
	o.must("setup --shards 2 --retention-hours 48 --replicas 0",
		"stream "+name+": created, with 2 shards, keeps records for 48 hours\n", "queue "+name+": created\n", "queue "+name+"-dlq: created\n",
		"bucket "+name+": created\n", "bucket "+name+"-backup: created\n", "form of records: created, pack\n", ", for 1 shards and 0 replicas an index\n", "room for indices: 1",
		"search attributes: created: MillraceShard, MillraceStage, MillraceState\n")
	again := o.must("setup --replicas 0 --form kpl",
		"stream "+name+": there already, with 2 shards, keeps records for 48 hours (to have 4 shards, reshard it: the pipeline follows) (that is not made shorter)\n",
		"queue "+name+": there already\n", "queue "+name+"-dlq: there already\n", "bucket "+name+": there already\n",
		"index templates: there already, for 1 shards and 0 replicas an index\n", "search attributes: there already\n",
		"form of records: there already, pack\n")
	if strings.Contains(again, "created") {
		t.Errorf("the second run created something:\n%s", again)
	}

	ctx := t.Context()
	s, err := stream.Open(ctx, streams, name, stream.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if shards, err := s.Shards(ctx); err != nil || len(shards) != 2 || s.Retention().Hours() != 48 {
		t.Errorf("the stream has %d shards and keeps records for %v, %v", len(shards), s.Retention(), err)
	}
	for _, queue := range []string{name, name + "-dlq"} {
		found, err := queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &queue})
		if err != nil {
			t.Fatal(err)
		}
		attributes, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{"All"}})
		if err != nil || attributes.Attributes["MessageRetentionPeriod"] != "1209600" || attributes.Attributes["RedrivePolicy"] != "" {
			t.Errorf("queue %s is %v, %v", queue, attributes, err)
		}
	}
	if _, err := buckets.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name}); err != nil {
		t.Error(err)
	}
	documents, err := index.Open(index.Settings{URLs: []string{localtest.Elasticsearch(t)}})
	if err == nil {
		err = documents.Ready(ctx)
	}
	if err != nil {
		t.Error(err)
	}
	_, err = localtest.TemporalClient(t, options).ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: "any", TaskQueue: "any", TypedSearchAttributes: temporal.NewSearchAttributes(
			workflows.Stage.ValueSet("x"), workflows.State.ValueSet("x"), workflows.Shard.ValueSet("x")),
	}, "Any")
	if err != nil {
		t.Errorf("the search attributes cannot be used: %v", err)
	}
}

func TestSetupReportsEveryProblem(t *testing.T) {
	t.Parallel()
	const nowhere = "127.0.0.1:1"
	env := []string{
		"AWS_ENDPOINT_URL=http://" + nowhere, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x",
		"TEMPORAL_ADDRESS=" + nowhere, "MILLRACE_ELASTICSEARCH_URL=http://" + nowhere,
	}
	newOperator(t, env...).fails("setup",
		"stream millrace-telemetry-stream: FAILED: ", "queue millrace-telemetry-queue: FAILED: ", "queue millrace-telemetry-dlq: FAILED: ",
		"bucket millrace-telemetry: FAILED: ", "look at AWS_REGION, AWS_ENDPOINT_URL", "index templates: FAILED: ", "look at --elasticsearch-url",
		"search attributes: FAILED: Temporal does not answer at 127.0.0.1:1: set TEMPORAL_ADDRESS", "room for indices: not known: ", "index of the ledger: FAILED: ", "form of records: FAILED: ", "run `starter format pack`", "8 of the steps failed")
	newOperator(t).fails("setup", "no AWS region: set AWS_REGION")
}

// TestSetupForFilesAsksNoElasticsearch, as the others' failures show: each step but that one.
func TestSetupForFilesAsksNoElasticsearch(t *testing.T) {
	t.Parallel()
	const nowhere = "127.0.0.1:1"
	o := newOperator(t, "AWS_ENDPOINT_URL=http://"+nowhere, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x",
		"TEMPORAL_ADDRESS="+nowhere, "MILLRACE_ELASTICSEARCH_URL=http://"+nowhere, "MILLRACE_SINK=file")
	o.fails("setup", "bucket millrace-telemetry: FAILED: ", "search attributes: FAILED: ", "7 of the steps failed")
	if r := o.run("setup"); strings.Contains(r.out, "index templates") || strings.Contains(r.out, "indices") {
		t.Errorf("setup prints:\n%s", r.out)
	}
}

func TestSetupReportsAttributeOfWrongType(t *testing.T) {
	t.Parallel()
	options := localtest.TemporalNamespace(t)
	_, err := localtest.TemporalClient(t, options).OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
		Namespace: options.Namespace, SearchAttributes: map[string]enums.IndexedValueType{"MillraceState": enums.INDEXED_VALUE_TYPE_INT},
	})
	if err != nil {
		t.Fatal(err)
	}
	const nowhere = "http://127.0.0.1:1"
	o := newOperator(t, "AWS_ENDPOINT_URL="+nowhere, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x",
		"MILLRACE_ELASTICSEARCH_URL="+nowhere, "TEMPORAL_ADDRESS="+options.HostPort, "TEMPORAL_NAMESPACE="+options.Namespace)
	await(t, "the attribute to be known", func() bool {
		r := o.run("setup")
		return strings.Contains(r.out, "search attribute MillraceState is of type Int, not Keyword: remove it")
	})
}
