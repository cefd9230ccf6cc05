package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

func TestDeadLettersAreGroupedByError(t *testing.T) {
	t.Parallel()
	name := localtest.Name(t, "")
	buckets := s3.NewFromConfig(localtest.AWS(t), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := archive.Create(t.Context(), buckets, name); err != nil {
		t.Fatal(err)
	}
	bucket := archive.Open(buckets, name)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for key, err := range bucket.Keys(ctx, "") {
			if err == nil {
				_ = bucket.Delete(ctx, key)
			}
		}
		_, _ = buckets.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
	})
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	book := ledger.New(bucket, name)
	add := func(first, last string, records ...ledger.Record) string {
		key, err := book.Add(t.Context(), ledger.Entry{
			Kind: ledger.Bulk, At: at, Records: records,
			Range: telemetry.Range{StreamARN: "arn:aws:kinesis:eu-west-1:0:stream/" + name, Shard: "shardId-000000000001", First: first, Last: last},
		})
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	record := func(id, tenant, kind, reason string) ledger.Record {
		return ledger.Record{ID: id, Tenant: tenant, Type: kind, Error: outcome.Error{Type: reason}}
	}
	parsing := func(id, tenant, value string) ledger.Record {
		r := record(id, tenant, "span", "document_parsing_exception")
		r.Error.Reason = "[1:" + value + "] failed to parse field [duration] in document with id '" + id + "'. Preview of field's value: '" + value + "'"
		return r
	}
	first := add("10", "20", parsing("a", "acme", "12"), parsing("b", "umbrella", "345"))
	second := add("30", "40", parsing("c", "acme", "6"), record("d", "acme", "log", "processor_panicked"))
	add("70", "80", parsing("e", telemetry.CanaryTenant, "7"))

	o := newOperator(t, append(localAWS(t), "MILLRACE_STREAM="+name, "MILLRACE_BUCKET="+name)...)
	o.must("dlq list", "3 records in 2 entries: document_parsing_exception: failed to parse field [duration] in document with id '…'.",
		"acme, umbrella", "1 records in 1 entries: processor_panicked", first)
	for args, want := range map[string]int{
		"": 4, " --tenant umbrella": 1, " --type log": 1, " --error duration": 3, " --error panicked": 1, " --done": 0,
		" --shard shardId-000000000001": 4, " --shard ingest": 0,
		" --tenant " + telemetry.CanaryTenant: 1,
	} {
		var groups []deadGroup
		if err := json.Unmarshal([]byte(o.must("dlq list --json"+args)), &groups); err != nil {
			t.Fatal(err)
		}
		records := 0
		for _, g := range groups {
			records += g.Records
		}
		if records != want {
			t.Errorf("dlq list%s: %d records, want %d", args, records, want)
		}
	}
	o.must("dlq list --done", "none")
	o.must("dlq show "+second, "open", "processor_panicked", "acme")
	if err := book.Resolve(t.Context(), second, ledger.Resolution{How: "indexed", By: "ada", At: at}); err != nil {
		t.Fatal(err)
	}
	o.must("dlq show "+second, "indexed by ada")

	// What a batch holds hinders no command, and nothing of it counts twice.
	held := func(id, sequence string) ledger.Record {
		r := record(id, "acme", "span", "odd_exception")
		r.Sequence = sequence
		return r
	}
	entry := ledger.Entry{
		Kind: ledger.Bulk, At: at, Held: &ledger.Holder{By: "batch/1", Run: "r"}, Records: []ledger.Record{held("x", "15"), held("y", "50"), held("z", "60")},
		Range: telemetry.Range{StreamARN: "arn:aws:kinesis:eu-west-1:0:stream/" + name, Shard: "shardId-000000000001", First: "15", Last: "60"},
	}
	held1, err := book.Add(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	o.must("dlq list", "2 records in 1 entries: odd_exception", "batch/1: copies, nothing is given up", "2 records in 1 entries: document_parsing_exception")
	o.must("dlq show "+held1, "batch/1 is at work on its records")
	if err := book.Resolve(t.Context(), held1, ledger.Resolution{How: ledger.HowReleased, By: "batch/1", At: at}); err != nil {
		t.Fatal(err)
	}
	var done []deadGroup
	if err := json.Unmarshal([]byte(o.must("dlq list --done --json")), &done); err != nil || len(done) != 2 {
		t.Errorf("done are %+v, %v", done, err)
	}
	o.must("dlq show "+held1, "released by batch/1")
}
