package kinesis

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// start serves a stream of some shards; the time is now until it is moved.
func start(t *testing.T, shards int) (client *kinesis.Client, now *time.Time) {
	t.Helper()
	s, at := New(), time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	s.now = func() time.Time { return at }
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client = kinesis.New(kinesis.Options{
		BaseEndpoint: &server.URL, Region: "eu-west-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	if _, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("s"), ShardCount: aws.Int32(int32(shards))}); err != nil {
		t.Fatal(err)
	}
	return client, &at
}

// put puts records of a size, each with its own key, and returns how many are refused.
func put(t *testing.T, client *kinesis.Client, count, bytes int) (refused int) {
	t.Helper()
	in := &kinesis.PutRecordsInput{StreamName: aws.String("s")}
	for n := range count {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: []byte(strings.Repeat("x", bytes)), PartitionKey: aws.String(fmt.Sprint(n))})
	}
	out, err := client.PutRecords(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Records {
		if aws.ToString(r.ErrorCode) == throttled {
			refused++
		}
	}
	if int(aws.ToInt32(out.FailedRecordCount)) != refused {
		t.Errorf("%d failed, %d are refused", aws.ToInt32(out.FailedRecordCount), refused)
	}
	return refused
}

func TestShardAcceptsItsQuota(t *testing.T) {
	t.Parallel()
	client, now := start(t, 1)
	if a, b, c := put(t, client, 500, 1), put(t, client, 500, 1), put(t, client, 10, 1); a+b != 0 || c != 10 {
		t.Errorf("of 1,010 records %d are refused", a+b+c)
	}
	*now = now.Add(time.Second)
	if a, b := put(t, client, 4, 1<<18), put(t, client, 1, 1<<18); a != 0 || b != 1 {
		t.Errorf("of 1 MiB %d records are refused, and of what comes behind it %d", a, b)
	}
}

func TestRecordsAreReadOnce(t *testing.T) {
	t.Parallel()
	client, _ := start(t, 3)
	put(t, client, 30, 10)
	shards, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("s")})
	if err != nil || len(shards.Shards) != 3 {
		t.Fatalf("%v, %v", shards, err)
	}
	read := 0
	for _, shard := range shards.Shards {
		first, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: aws.String("s"), ShardId: shard.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			t.Fatal(err)
		}
		page, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: first.ShardIterator, Limit: aws.Int32(4)})
		if err != nil || len(page.Records) != 4 || aws.ToInt64(page.MillisBehindLatest) == 0 {
			t.Fatalf("%v, %v", page, err)
		}
		rest, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: page.NextShardIterator})
		if err != nil || aws.ToInt64(rest.MillisBehindLatest) != 0 || string(rest.Records[0].Data) != "xxxxxxxxxx" {
			t.Fatalf("%v, %v", rest, err)
		}
		read += len(page.Records) + len(rest.Records)
		again, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: aws.String("s"), ShardId: shard.ShardId,
			ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: page.Records[3].SequenceNumber,
		})
		if err != nil {
			t.Fatal(err)
		}
		page, err = client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: again.ShardIterator})
		if err != nil || len(page.Records) != 1+len(rest.Records) {
			t.Errorf("from a record on: %v, %v", page, err)
		}
	}
	if read != 30 {
		t.Errorf("%d of 30 records were read", read)
	}
}

func TestReadingHasAQuota(t *testing.T) {
	t.Parallel()
	client, now := start(t, 1)
	first, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: aws.String("s"), ShardId: aws.String(shardID(0)), ShardIteratorType: types.ShardIteratorTypeLatest,
	})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for ; calls < 10 && err == nil; calls++ {
		_, err = client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: first.ShardIterator})
	}
	if calls != getCalls+1 || err == nil || !strings.Contains(err.Error(), throttled) {
		t.Errorf("call %d: %v", calls, err)
	}
	*now = now.Add(time.Second)
	if _, err = client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: first.ShardIterator}); err != nil {
		t.Errorf("a second later: %v", err)
	}
}
