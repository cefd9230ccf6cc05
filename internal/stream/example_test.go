package stream_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/internal/stream"
	"millrace/internal/telemetry"
	memory "millrace/test/kinesis"
)

// A producer puts records and learns which positions were rejected; a consumer reads a shard from a checkpoint.
func Example() {
	ctx := context.Background()
	server := httptest.NewServer(memory.New()) // a Kinesis in memory, with the quotas of AWS
	defer server.Close()
	client := kinesis.New(kinesis.Options{
		BaseEndpoint: &server.URL, Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	if _, err := stream.Create(ctx, client, "telemetry", 1, 24*time.Hour); err != nil {
		panic(err)
	}
	telemetryStream, err := stream.Open(ctx, client, "telemetry", stream.Settings{})
	if err != nil {
		panic(err)
	}

	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	record := func(id string) []byte {
		return telemetry.AppendRecord(nil, telemetry.Head{
			Index: "telemetry-span-2026.11.23", ReceivedAt: at, Tenant: "acme", ID: id, Type: "span", Timestamp: at,
		}, []byte(`{"name":"GET /"}`))
	}
	for _, rejected := range telemetryStream.Put(ctx, [][]byte{record("one"), []byte("not ours"), record("two")}) {
		fmt.Println("rejected:", rejected.Position, rejected.Code, "for ever:", rejected.Invalid)
	}

	shards, err := telemetryStream.Shards(ctx)
	if err != nil {
		panic(err)
	}
	var checkpoint telemetry.Checkpoint // the beginning
	read := func(count int) {
		reader := telemetryStream.Reader(shards[0].ID, checkpoint)
		defer reader.Close()
		for count > 0 {
			page, err := reader.Next(ctx)
			if err != nil {
				panic(err)
			}
			for _, r := range page.Records[:min(count, len(page.Records))] {
				fmt.Println("read:", telemetry.ParseFields(r.Data).ID)
				checkpoint.Sequence, checkpoint.ReadUpTo = r.Sequence, r.Arrived
				count--
			}
		}
	}
	read(1)
	read(1) // another reader continues at the checkpoint

	// Output:
	// rejected: 1 Foreign for ever: true
	// read: one
	// read: two
}
