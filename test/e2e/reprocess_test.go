package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/deploy/local/localtest"
	"millrace/internal/telemetry"
	"millrace/test/kit/audit"
)

// open counts the entries of the ledger that are open, and the records that
// they have.
func (s *system) open() (entries, records int) {
	s.t.Helper()
	listed, err := s.stores.S3.ListObjectsV2(s.t.Context(), &s3.ListObjectsV2Input{Bucket: &s.stores.Bucket, Prefix: aws.String("ledger/open/")})
	s.must(err)
	return len(listed.Contents), len(s.ledger())
}

// letters counts what is in the dead-letter queue, also what is held.
func (s *system) letters() int {
	s.t.Helper()
	queues := sqs.NewFromConfig(localtest.AWS(s.t))
	queue, err := queues.GetQueueUrl(s.t.Context(), &sqs.GetQueueUrlInput{QueueName: &s.resources.DeadLetters})
	s.must(err)
	got, err := queues.GetQueueAttributes(s.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{
		sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}})
	s.must(err)
	total := 0
	for _, text := range got.Attributes {
		n := 0
		_, err := fmt.Sscan(text, &n)
		s.must(err)
		total += n
	}
	return total
}

// empty waits until queue and ledger have nothing any more, and everything is
// indexed, each record once.
func (s *system) empty(records int) {
	s.t.Helper()
	s.await(func() error {
		entries, left := s.open()
		if letters := s.letters(); letters+entries+left > 0 {
			return fmt.Errorf("%d letters, %d entries with %d records", letters, entries, left)
		}
		return nil
	})
	s.awaitDocuments(records)
	report, err := audit.Run(s.t.Context(), s.stores)
	s.must(err)
	if report.Others != uint64(records) || report.Duplicated+report.OthersDead > 0 {
		s.t.Errorf("%d records: %+v", records, report)
	}
}

// A field of the wrong type has records refused; the mapping is mended; one
// command brings all of them home, and empties queue and ledger. Meanwhile the
// worker is killed.
func TestReprocessIndexesDeadLetters(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"ingest", "direct"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			c := newConflict(s)
			s.leaveLetters()
			const records = 300
			bad := c.events(0, records)
			s.await(func() error {
				if _, dead := s.open(); dead != bad {
					return fmt.Errorf("%d records are in the ledger, want %d", dead, bad)
				}
				return nil
			})
			s.awaitDocuments(records - bad)
			s.await(func() error {
				if s.letters() == 0 {
					return fmt.Errorf("no letter reports them")
				}
				return nil
			})

			args := []string{"dlq", "reprocess", "--wait"}
			if mode == "direct" {
				args = append(args, "--direct")
			}
			dry, err := s.Starter(t.Context(), append(args, "--dry-run")...)
			s.must(err)
			if want := fmt.Sprintf("%d in ", bad); !strings.Contains(dry, want) || !strings.Contains(dry, "document_parsing_exception") {
				t.Errorf("the dry run says:\n%s", dry)
			}
			if _, dead := s.open(); dead != bad {
				t.Errorf("after a dry run %d records are in the ledger", dead)
			}

			c.mend()
			_, err = s.Starter(t.Context(), "letters", "resume")
			s.must(err)
			type outcome struct {
				said string
				err  error
			}
			ended := make(chan outcome, 1)
			go func() {
				said, err := s.Starter(t.Context(), args...)
				ended <- outcome{said, err}
			}()
			// It dies when something has been done, or as soon as it is known that all is.
			s.await(func() error {
				if entries, _ := s.open(); entries == bad && s.letters() > 0 {
					return fmt.Errorf("nothing was done yet")
				}
				return nil
			})
			s.worker.Kill()
			s.must(s.worker.Restart(t.Context()))
			end := <-ended
			s.must(end.err)
			if !strings.Contains(end.said, "done") {
				t.Errorf("it says:\n%s", end.said)
			}
			s.empty(records)
			listed, err := s.Starter(t.Context(), "dlq", "list")
			s.must(err)
			if !strings.Contains(listed, "none") {
				t.Errorf("the list says:\n%s", listed)
			}
		})
	}
}

// AWS Lambda's own message about records of the stream, delivered twice, and one
// that cannot be read.
func TestReprocessIndexesLambdaDeadLetters(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := newConflict(s)
	const records = 30
	c.events(1, 1) // a good one: the shard is read
	s.awaitDocuments(1)
	// What Lambda did not process is in the stream, and is not processed: the
	// shards are stopped.
	_, err := s.Starter(t.Context(), "process", "stop", "--yes")
	s.must(err)
	_, err = s.Starter(t.Context(), "letters", "start")
	s.must(err)
	streams := kinesis.NewFromConfig(localtest.AWS(t))
	described, err := streams.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &s.resources.Stream})
	s.must(err)
	var first, last, shard string
	for n := range records {
		at := time.Now().UTC()
		data := telemetry.AppendRecord(nil, telemetry.Head{
			Index: c.index, ReceivedAt: at, Tenant: s.tenant, Region: "eu-west-1", ID: fmt.Sprint("lambda-", n), Type: "event", Timestamp: at,
		}, []byte(`{"amount":1}`))
		put, err := streams.PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: &s.resources.Stream, Data: data, PartitionKey: aws.String("same"),
		})
		s.must(err)
		if first == "" {
			first, shard = *put.SequenceNumber, *put.ShardId
		}
		last = *put.SequenceNumber
	}
	queues := sqs.NewFromConfig(localtest.AWS(t))
	queue, err := queues.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &s.resources.DeadLetters})
	s.must(err)
	send := func(body string) {
		_, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: &body})
		s.must(err)
	}
	letter := func(first, last string, size int) string {
		return fmt.Sprintf(`{"requestContext":{"requestId":"r","functionArn":"arn:aws:lambda:eu-west-1:0:function:old","condition":"RetryAttemptsExhausted","approximateInvokeCount":3,"tracing":null},
			"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":null},"version":"1.0","timestamp":"2026-11-23T00:00:00.000Z","payload":null,
			"KinesisBatchInfo":{"shardId":%q,"startSequenceNumber":%q,"endSequenceNumber":%q,"approximateArrivalOfFirstRecord":null,"approximateArrivalOfLastRecord":null,"batchSize":%d,"streamArn":%q}}`,
			shard, first, last, size, *described.StreamDescriptionSummary.StreamARN)
	}
	for range 2 {
		send(letter(first, last, records))
	}
	send("smoke")
	send(letter("1", "2", 2)) // trimmed long ago
	s.await(func() error {
		entries, kept := s.open()
		if letters := s.letters(); letters != 1 || kept != records || entries != 2 {
			return fmt.Errorf("%d letters, %d entries with %d records", letters, entries, kept)
		}
		return nil
	})
	s.await(func() error {
		status, err := s.Starter(t.Context(), "letters", "status")
		s.must(err)
		if !strings.Contains(status, "unreadable       1\n") || !strings.Contains(status, "it is not what it says in JSON") {
			return fmt.Errorf("the status says:\n%s", status)
		}
		return nil
	})
	said, err := s.Starter(t.Context(), "dlq", "reprocess", "--direct", "--wait")
	s.must(err)
	// What is trimmed stays, and is never counted as done.
	if !strings.Contains(said, "unrecoverable") || !strings.Contains(said, "/loss-1-2.") {
		t.Errorf("it says:\n%s", said)
	}
	if entries, kept := s.open(); entries != 1 || kept != 0 {
		t.Errorf("%d entries with %d records are open", entries, kept)
	}
	// The shards go on, and meet the same records: they are there once.
	_, err = s.Starter(t.Context(), "process", "start")
	s.must(err)
	s.await(func() error {
		shown, err := s.Starter(t.Context(), "shards", "--json")
		s.must(err)
		if !strings.Contains(shown, last) {
			return fmt.Errorf("the shards are at %s", shown)
		}
		return nil
	})
	s.awaitDocuments(1 + records)
	if report, err := audit.Run(t.Context(), s.stores); err != nil || report.Duplicated > 0 || report.Others != 1+records {
		t.Errorf("%+v, %v", report, err)
	}
}

// Two operators reprocess at the same time: one learns of the other.
func TestConcurrentReprocessesHaveOneEffect(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := newConflict(s)
	const records = 90
	bad := c.events(0, records)
	s.awaitDocuments(records - bad)
	s.await(func() error {
		if _, dead := s.open(); dead != bad {
			return fmt.Errorf("%d records are in the ledger, want %d", dead, bad)
		}
		return nil
	})
	c.mend()
	// The first one finds no worker until the second has asked.
	s.worker.Kill()
	_, err := s.Starter(t.Context(), "dlq", "reprocess", "--by", "ada")
	s.must(err)
	_, err = s.Starter(t.Context(), "dlq", "reprocess", "--by", "grace")
	if err == nil || !strings.Contains(err.Error(), "reprocess/"+s.resources.Stream+" runs already") {
		t.Errorf("the second was told %v", err)
	}
	s.must(s.worker.Restart(t.Context()))
	s.empty(records)
	s.await(func() error {
		status, err := s.Starter(t.Context(), "dlq", "status")
		s.must(err)
		if !strings.Contains(status, "done") || !strings.Contains(status, "by ada") {
			return fmt.Errorf("the status says:\n%s", status)
		}
		return nil
	})
}
