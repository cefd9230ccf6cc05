package replay_test

import (
	"bytes"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/bench/data"
	"millrace/bench/replay"
)

// The real client must find every record once, whatever pages it asks for, and
// again from any sequence number.
func TestReplayServesEveryRecordOnce(t *testing.T) {
	t.Parallel()
	records := data.Records(1000, time.Now())
	handler, err := replay.New(records, 4)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := kinesis.New(kinesis.Options{
		BaseEndpoint: &server.URL, Region: data.Region, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	summary, err := client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToInt32(summary.StreamDescriptionSummary.OpenShardCount); got != 4 {
		t.Errorf("the stream has %d shards", got)
	}
	shards, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamARN: summary.StreamDescriptionSummary.StreamARN})
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, r := range records {
		left[string(r)] = true
	}
	for _, shard := range shards.Shards {
		read := drain(t, client, &kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon, ShardId: shard.ShardId})
		for i, r := range read {
			if !left[string(r.Data)] {
				t.Errorf("%s holds a record that is not there or was read before: %s", *shard.ShardId, r.Data)
			}
			delete(left, string(r.Data))
			if i > 0 && *r.SequenceNumber <= *read[i-1].SequenceNumber {
				t.Errorf("%s: sequence number %s after %s", *shard.ShardId, *r.SequenceNumber, *read[i-1].SequenceNumber)
			}
		}
		middle := len(read) / 2
		again := drain(t, client, &kinesis.GetShardIteratorInput{
			ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, ShardId: shard.ShardId, StartingSequenceNumber: read[middle].SequenceNumber,
		})
		if len(again) != len(read)-middle || !bytes.Equal(again[0].Data, read[middle].Data) {
			t.Errorf("%s: %d records from the middle of %d", *shard.ShardId, len(again), len(read))
		}
	}
	if len(left) > 0 {
		t.Errorf("%d records were not served", len(left))
	}
	if reads := handler.Reads("s"); reads.Records < 1000 || reads.First.IsZero() {
		t.Errorf("reads are counted as %+v", reads)
	}
}

// drain reads to the tip of a shard, 73 records at a time.
func drain(t *testing.T, client *kinesis.Client, from *kinesis.GetShardIteratorInput) []types.Record {
	t.Helper()
	from.StreamName = aws.String("s")
	at, err := client.GetShardIterator(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	var records []types.Record
	for next := at.ShardIterator; ; {
		page, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(73)})
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, page.Records...)
		if *page.MillisBehindLatest == 0 {
			return records
		}
		next = page.NextShardIterator
	}
}

func TestReplayAcceptsAndDiscardsPuts(t *testing.T) {
	t.Parallel()
	handler, err := replay.New(nil, 4)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := kinesis.New(kinesis.Options{
		BaseEndpoint: &server.URL, Region: data.Region, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	entry := types.PutRecordsRequestEntry{Data: []byte("x"), PartitionKey: aws.String("k")}
	out, err := client.PutRecords(t.Context(), &kinesis.PutRecordsInput{
		StreamName: aws.String("s"), Records: []types.PutRecordsRequestEntry{entry, entry, entry},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Records) != 3 || aws.ToInt32(out.FailedRecordCount) != 0 || aws.ToString(out.Records[2].SequenceNumber) == "" {
		t.Errorf("the answer is %+v", out)
	}
}
