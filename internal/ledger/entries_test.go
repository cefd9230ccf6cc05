package ledger_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/awshttp"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// newBucket returns a bucket of its own.
func newBucket(t *testing.T) *archive.Bucket {
	t.Helper()
	cfg := localtest.AWS(t)
	cfg.HTTPClient = awshttp.Wrap(nil)
	client, name := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), localtest.Name(t, "")
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(cfg.Region)},
	}); err != nil {
		t.Fatal(err)
	}
	bucket := archive.Open(client, name)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for key, err := range bucket.Keys(ctx, "") {
			if err == nil {
				_ = bucket.Delete(ctx, key)
			}
		}
		_, _ = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
	})
	return bucket
}

var created = time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

func stretch(first, last string) telemetry.Range {
	return telemetry.Range{
		StreamARN: "arn:aws:kinesis:eu-west-1:000000000000:stream/telemetry", StreamCreated: created,
		Shard: "shardId-000000000001", First: first, Last: last, Count: 2,
	}
}

func streamRecord(id string) []byte {
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-span-2026.11.23", ReceivedAt: created, Tenant: "acme", Region: "eu-west-1", ID: id, Type: "span", Timestamp: created,
	}, []byte(`{"name":"x"}`))
}

func bulk(first, last string) ledger.Entry {
	cause := outcome.Error{
		Type: "document_parsing_exception", Reason: "[1:2] failed to parse field [duration]: 'a \"value\"'", Status: 400,
		Cause: &outcome.Error{Type: "number_format_exception", Reason: "For input string"},
	}
	one, two := ledger.NewRecord(streamRecord("one"), cause), ledger.NewRecord([]byte{0xff, 0, '"'}, cause)
	one.Sequence, one.Arrived, two.Sequence = first, created, last
	return ledger.Entry{Kind: ledger.Bulk, Range: stretch(first, last), Source: "process/telemetry/1/shard", At: created, Records: []ledger.Record{one, two}}
}

// add adds an entry and returns its key.
func add(t *testing.T, l *ledger.Ledger, e ledger.Entry) string {
	t.Helper()
	key, err := l.Add(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func collect(t *testing.T, keys iter.Seq2[string, error]) (all []string) {
	t.Helper()
	for key, err := range keys {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, key)
	}
	return all
}
