package tables_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"maps"
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

// TestTablesDistinguishKeysByCase: the SerDe that does not takes a line with "tenant"
// and "Tenant" for broken, and one that does finds a column's key only under the
// name that it is given.
func TestTablesDistinguishKeysByCase(t *testing.T) {
	t.Parallel()
	for _, pointed := range []bool{true, false} {
		columns, err := tables.Columns(pointed)
		if err != nil {
			t.Fatal(err)
		}
		p := tables.SerDeProperties(columns)
		if p["case.insensitive"] != "false" {
			t.Errorf("case.insensitive is %s", p["case.insensitive"])
		}
		for _, c := range columns {
			key, mapped := p["mapping."+c.Name]
			if !mapped {
				key = c.Name
			}
			if key != c.Key {
				t.Errorf("column %s reads %s, and its key is %s", c.Name, key, c.Key)
			}
		}
	}
}

// TestAthenaCountsBackup: by distinct doc_id, whatever came twice, and
// though some records are such as no index takes.
func TestAthenaCountsBackup(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	want := write(t, bucket.Under(backup.Prefix))
	answers(t, bucket, tables.Ours, map[string][][]string{
		"SELECT type, count(DISTINCT doc_id) FROM telemetry WHERE doc_id IS NOT NULL GROUP BY type ORDER BY type": want,
		"SELECT count(*) FROM telemetry WHERE backup_data IS NOT NULL":                                            {{"3"}},
		"SELECT count(*) FROM telemetry WHERE dt = '2026-11-23' AND hour = '13'":                                  {{"59"}}, // a second each, to the hour's end
	})
}

// TestAthenaCountsFirehoseDelivery: the template has it write a document a
// line, compressed. The emulator knows no partitions by projection, so that none
// is named.
func TestAthenaCountsFirehoseDelivery(t *testing.T) {
	t.Parallel()
	bucket, of := newBucket(t), map[string]int{}
	for object := range 3 {
		var body bytes.Buffer
		packer := gzip.NewWriter(&body)
		for n := range 50 {
			data, kind := document(object*50+n, time.Now())
			of[kind]++
			for range 1 + n%2 { // every other one twice
				if _, err := packer.Write(append(data, '\n')); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := packer.Close(); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprintf("%s2026/11/23/%d/millrace-1-2026-11-23-%[2]d-00-00-a.json.gz", backup.Prefix, 13+object)
		if err := bucket.Put(t.Context(), key, body.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	answers(t, bucket, tables.Firehose, map[string][][]string{
		"SELECT type, count(DISTINCT doc_id) FROM telemetry_firehose GROUP BY type ORDER BY type": rows(of),
		"SELECT count(*), count(DISTINCT doc_id) FROM telemetry_firehose":                         {{"225", "150"}},
	})
}

// newBucket is gone after the test.
func newBucket(t *testing.T) *archive.Bucket {
	t.Helper()
	name := localtest.Name(t, "athena")
	client := s3.NewFromConfig(localtest.AWS(t), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := archive.Create(t.Context(), client, name); err != nil {
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

// answers asserts what Athena says of a layout's table over the backup in a
// bucket, by statement.
func answers(t *testing.T, bucket *archive.Bucket, layout tables.Layout, want map[string][][]string) {
	t.Helper()
	cfg, place := localtest.AWS(t), "s3://"+bucket.Name()+"/"
	database := strings.ReplaceAll(bucket.Name(), "-", "_")
	if err := tables.Create(t.Context(), glue.NewFromConfig(cfg), database, layout, place+backup.Prefix); err != nil {
		t.Fatal(err)
	}
	for statement, want := range want {
		got, err := tables.Query(t.Context(), athena.NewFromConfig(cfg), database, place+"results/", statement)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s\nanswers %v, %v, and it is %v", statement, got, err, want)
		}
	}
}

// document makes the n-th one, of one of three types.
func document(n int, at time.Time) (data []byte, kind string) {
	kind = []string{"log", "span", "metric"}[n%3]
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-" + kind + "-2026.11.23", ReceivedAt: at, Tenant: "t", Region: "r", ID: fmt.Sprint(n), Type: kind, Timestamp: at,
	}, fmt.Appendf(nil, `{"duration":%s,"resource":{"attributes":{"service.name":"x"}}}`, []string{"7", `"long"`}[min(1, n%50/49)])), kind
}

// rows are what a query by type answers.
func rows(of map[string]int) (rows [][]string) {
	for _, kind := range slices.Sorted(maps.Keys(of)) {
		rows = append(rows, []string{kind, fmt.Sprint(of[kind])})
	}
	return rows
}

// write backs records up, every fifth of them twice, and returns how many there
// are of each type.
func write(t *testing.T, store backup.Store) [][]string {
	t.Helper()
	at := time.Date(2026, 11, 23, 13, 59, 0, 0, time.UTC)
	chain := backup.Open(store, backup.Shard{Stream: "s", Created: at, ID: "shardId-000000000000"}, "")
	sequence, of := 0, map[string]int{}
	add := func(data []byte) {
		sequence++
		r := backup.Record{Sequence: fmt.Sprint(1_000_000 + sequence), Arrived: at.Add(time.Duration(sequence) * time.Second), Data: data}
		if !chain.Fits(r.Arrived) || chain.Held().Count == 100 {
			if _, err := chain.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := chain.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 300 {
		data, kind := document(n, at)
		of[kind]++
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
	return rows(of)
}
