package replay_test

import (
	"bytes"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/bench/data"
	"millrace/bench/replay"
	"millrace/internal/container"
	"millrace/internal/stream"
)

// TestReplayServesEveryDocumentOnce to the real client, whatever pages it asks for, and
// again from any sequence number.
func TestReplayServesEveryDocumentOnce(t *testing.T) {
	t.Parallel()
	for name, perRecord := range map[string]int{"singles": 1, "packs": 7} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serveOnce(t, perRecord)
		})
	}
}

const shards = 4

// serve starts a replay, and makes a client of it.
func serve(t *testing.T, documents [][]byte, perRecord int) (*replay.Server, *kinesis.Client) {
	t.Helper()
	handler, err := replay.New(documents, shards, perRecord)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return handler, kinesis.New(kinesis.Options{
		BaseEndpoint: &server.URL, Region: data.Region, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

func serveOnce(t *testing.T, perRecord int) {
	t.Helper()
	records := data.Records(1000, time.Now())
	handler, client := serve(t, records, perRecord)
	summary, err := client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToInt32(summary.StreamDescriptionSummary.OpenShardCount); got != shards {
		t.Errorf("the stream has %d shards", got)
	}
	listed, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamARN: summary.StreamDescriptionSummary.StreamARN})
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, r := range records {
		left[string(r)] = true
	}
	for _, shard := range listed.Shards {
		read := drain(t, client, &kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon, ShardId: shard.ShardId})
		for i, r := range read {
			documents, err := container.Open(r.Data)
			if err != nil || len(documents) > perRecord {
				t.Fatalf("a record has %d documents, %v", len(documents), err)
			}
			for _, d := range documents {
				if !left[string(d)] {
					t.Errorf("%s holds a document that is not there or was read before: %s", *shard.ShardId, d)
				}
				delete(left, string(d))
			}
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
	if reads := handler.Reads("s"); reads.Records < 1000/perRecord || reads.First.IsZero() {
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

func TestReplayCountsPutsAndForgetsThem(t *testing.T) {
	t.Parallel()
	handler, client := serve(t, nil, 1)
	var entries []types.PutRecordsRequestEntry
	for _, size := range []int{1, 24_998, 24_999, 60_000} { // and a key of two bytes each
		entries = append(entries, types.PutRecordsRequestEntry{Data: make([]byte, size), PartitionKey: aws.String("kk")})
	}
	out, err := client.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String("s"), Records: entries})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Records) != 4 || aws.ToInt32(out.FailedRecordCount) != 0 || aws.ToString(out.Records[2].SequenceNumber) == "" {
		t.Errorf("the answer is %+v", out)
	}
	if got, want := handler.Puts("s"), (replay.Puts{Calls: 1, Records: 4, Bytes: 110_006, Units: 1 + 1 + 2 + 3}); got != want {
		t.Errorf("it counts %+v, want %+v", got, want)
	}
}

// TestReplayIsAStreamToPutInto: by its tag, and with shards of which each says what it takes.
func TestReplayIsAStreamToPutInto(t *testing.T) {
	t.Parallel()
	for perRecord, want := range map[int]container.Form{1: container.Single, 100: container.Pack} {
		handler, client := serve(t, nil, perRecord)
		opened, err := stream.Open(t.Context(), client, "s", stream.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		if form, err := opened.Form(t.Context()); err != nil || form.Form != want {
			t.Errorf("the form is %v, %v, want %s", form, err, want)
		}
		if rejected := opened.Put(t.Context(), data.Records(1000, time.Now())); len(rejected) > 0 {
			t.Errorf("it rejects %v", rejected)
		}
		if puts := handler.Puts("s"); puts.Records != map[int]int{1: 1000, 100: shards}[perRecord] {
			t.Errorf("%d records were put", puts.Records)
		}
		listed, err := opened.Shards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var entries []types.PutRecordsRequestEntry
		for n := range 100 {
			entries = append(entries, types.PutRecordsRequestEntry{Data: []byte("x"), PartitionKey: aws.String(strconv.Itoa(n))})
		}
		out, err := client.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String("s"), Records: entries})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			for _, shard := range listed {
				if went := *out.Records[i].ShardId; shard.Takes(*e.PartitionKey) != (went == shard.ID) {
					t.Errorf("key %s goes to %s, and %s takes it: %v", *e.PartitionKey, went, shard.ID, shard.Takes(*e.PartitionKey))
				}
			}
		}
	}
}
