package tables_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/deploy/local/localtest"
	"millrace/deploy/tables"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

func TestFilesAreCurrent(t *testing.T) {
	t.Parallel()
	files, err := tables.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what go generate makes: %v", name, err)
		}
	}
}

func TestEveryFieldHasAColumn(t *testing.T) {
	t.Parallel()
	columns, err := tables.Columns(true)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for _, c := range columns {
		byName[c.Name] = c.Key
	}
	for name, key := range map[string]string{
		"backup_sequence": "backup_sequence", "doc_id": "doc_id", "timestamp": "@timestamp", "received_at": "received_at",
		"resource": "resource", "status": "status", "applicationid": "applicationId", "userTags": "", "metrics": "metrics", "exemplars": "exemplars",
	} {
		if byName[name] != key {
			t.Errorf("column %s is of %q", name, byName[name])
		}
	}
	if byName["indexed_at"] != "" {
		t.Error("the backup is said to know when a document was indexed")
	}
}

// TestAthenaCountsWhatWasBackedUp: by distinct doc_id, whatever came twice, and
// though some records are such as no index takes.
func TestAthenaCountsWhatWasBackedUp(t *testing.T) {
	t.Parallel()
	ctx, cfg, name := t.Context(), localtest.AWS(t), localtest.Name(t, "athena")
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := archive.Create(ctx, client, name); err != nil {
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
	want := write(t, bucket.Under(backup.Prefix))

	database, location, output := strings.ReplaceAll(name, "-", "_"), "s3://"+name+"/"+backup.Prefix, "s3://"+name+"/results/"
	if err := tables.Create(ctx, glue.NewFromConfig(cfg), database, tables.Ours, location); err != nil {
		t.Fatal(err)
	}
	queries := athena.NewFromConfig(cfg)
	for statement, want := range map[string][][]string{
		"SELECT type, count(DISTINCT doc_id) FROM telemetry WHERE doc_id IS NOT NULL GROUP BY type ORDER BY type": want,
		"SELECT count(*) FROM telemetry WHERE backup_data IS NOT NULL":                                            {{"3"}},
		"SELECT count(*) FROM telemetry WHERE dt = '2026-11-23' AND hour = '13'":                                  {{"59"}}, // a second each, to the hour's end
	} {
		got, err := tables.Query(ctx, queries, database, output, statement)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s\nanswers %v, %v, and it is %v", statement, got, err, want)
		}
	}
}

// write backs records up, every fifth of them twice, and returns how many there
// are of each type.
func write(t *testing.T, store backup.Store) (counts [][]string) {
	t.Helper()
	at := time.Date(2026, 11, 23, 13, 59, 0, 0, time.UTC)
	chain := backup.Open(store, backup.Shard{Stream: "s", Created: at, ID: "shardId-000000000000"}, "")
	sequence, of := 0, map[string]int{}
	add := func(data []byte) {
		sequence++
		r := backup.Record{Sequence: fmt.Sprint(1_000_000 + sequence), Arrived: at.Add(time.Duration(sequence) * time.Second), Data: data}
		if !chain.Fits(r) || chain.Held().Count == 100 {
			if _, err := chain.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := chain.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 300 {
		kind := []string{"log", "span", "metric"}[n%3]
		of[kind]++
		data := telemetry.AppendRecord(nil, telemetry.Head{
			Index: "telemetry-" + kind + "-2026.11.23", ReceivedAt: at, Tenant: "t", Region: "r", ID: fmt.Sprint(n), Type: kind, Timestamp: at,
		}, fmt.Appendf(nil, `{"duration":%s,"resource":{"attributes":{"service.name":"x"}}}`, []string{"7", `"long"`}[min(1, n%50/49)]))
		add(data)
		if n%5 == 0 {
			add(data)
		}
		if n%100 == 0 {
			add([]byte("foreign"))
		}
	}
	if _, err := chain.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for kind, n := range of {
		counts = append(counts, []string{kind, fmt.Sprint(n)})
	}
	slices.SortFunc(counts, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return counts
}
