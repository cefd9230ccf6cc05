package main

import (
	"errors"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/bench/data"
	"millrace/bench/replay"
	"millrace/bench/store"
	"millrace/internal/archive"
	"millrace/internal/backup"
)

// What the backup is measured against writes what the backup writes.
func TestBareLoopWritesSameObjectsAsBackup(t *testing.T) {
	records := data.Records(20_000, time.Now())
	streams, err := replay.New(records, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	source, sink := httptest.NewServer(streams), httptest.NewServer(store.New())
	t.Cleanup(source.Close)
	t.Cleanup(sink.Close)
	*kinesis, *stream, *s3Address, *bucket, *objectBytes = source.URL, "s", sink.URL, "b", 1<<20
	shards := []string{"shardId-000000000000", "shardId-000000000001"}
	for _, shard := range shards {
		if err := backUp(shard); err != nil {
			t.Fatal(err)
		}
	}
	left := map[string]bool{}
	for _, r := range records {
		left[string(r)] = true
	}
	client := s3.New(s3.Options{
		BaseEndpoint: &sink.URL, Region: data.Region, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	written, objects := archive.Open(client, *bucket).Under(backup.Prefix), 0
	last := map[string]string{}
	for object, err := range written.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		objects++
		reader, err := backup.OpenObject(t.Context(), written, object.Key)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for {
			line, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !left[string(line.Data)] || line.Sequence <= last[line.Shard] || time.Since(line.Arrived).Abs() > time.Minute {
				t.Fatalf("%s: a record that is not there, or twice, or in another order: %+v", object.Key, line)
			}
			delete(left, string(line.Data))
			last[line.Shard], size = line.Sequence, size+len(line.Data)
		}
		reader.Close()
		if size > *objectBytes {
			t.Errorf("%s has %d bytes", object.Key, size)
		}
	}
	if len(left) > 0 || len(last) != len(shards) || objects < 10 {
		t.Errorf("%d records are not there, in %d objects of %d shards", len(left), objects, len(last))
	}
}
