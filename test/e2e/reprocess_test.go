package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
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

// conflict gives this test's records an index in which a field is a number, so
// that those are refused in which it is none. mend makes it anew without.
type conflict struct {
	*world
	index string
}

// conflicts counts the conflicts of this run.
var conflicts atomic.Int64

// newConflict takes a day that no other test has.
func newConflict(w *world) conflict {
	day := time.Now().AddDate(0, 0, -int(10+conflicts.Add(1)))
	c := conflict{w, telemetry.IndexName("event", day)}
	c.put(`{"settings":{"number_of_replicas":0},"mappings":{"properties":{"amount":{"type":"long"}}}}`)
	w.t.Cleanup(c.remove)
	return c
}

// day is the timestamp of the index's records.
func (c conflict) day() string {
	return strings.ReplaceAll(strings.TrimPrefix(c.index, "telemetry-event-"), ".", "-") + "T12:00:00Z"
}

func (c conflict) ask(method, path, body string) {
	c.t.Helper()
	request, err := http.NewRequest(method, c.stores.Elasticsearch+path, strings.NewReader(body))
	c.must(err)
	request.Header.Set("Content-Type", "application/json")
	c.do(request, http.StatusOK)
}

func (c conflict) put(body string) { c.ask(http.MethodPut, "/"+c.index, body) }
func (c conflict) remove()         { c.ask(http.MethodDelete, "/"+c.index, "") }

// events posts records, every third of which has an amount that is no number.
func (c conflict) events(from, count int) (bad int) {
	c.t.Helper()
	var body bytes.Buffer
	for n := from; n < from+count; n++ {
		amount := fmt.Sprint(n)
		if n%3 == 0 {
			amount, bad = `"a lot"`, bad+1
		}
		fmt.Fprintf(&body, `{"id":"event-%d","type":"event","timestamp":%q,"amount":%s}`+"\n", n, c.day(), amount)
	}
	c.post("/v1/telemetry", "application/x-ndjson", body.Bytes(), http.StatusAccepted)
	return bad
}

// mend makes the index anew, with the documents it has, and without the field
// that was in the way.
func (c conflict) mend() {
	c.t.Helper()
	kept := c.search(fmt.Sprintf(`{"size":10000,"query":{"term":{"tenant":%q}}}`, c.tenant))
	c.remove()
	c.put(`{"settings":{"number_of_replicas":0},"mappings":{"properties":{"amount":{"type":"keyword"}}}}`)
	for _, d := range kept {
		source, err := json.Marshal(d.Source)
		c.must(err)
		c.ask(http.MethodPost, "/"+d.Index+"/_bulk?refresh=true", fmt.Sprintf(`{"create":{"_id":%q}}`+"\n%s\n", d.ID, source))
	}
}

// open counts the entries of the ledger that are open, and the records that
// they have.
func (w *world) open() (entries, records int) {
	w.t.Helper()
	listed, err := w.stores.S3.ListObjectsV2(w.t.Context(), &s3.ListObjectsV2Input{Bucket: &w.stores.Bucket, Prefix: aws.String("ledger/open/")})
	w.must(err)
	return len(listed.Contents), len(w.ledger())
}

// letters counts what is in the dead-letter queue, also what is held.
func (w *world) letters() int {
	w.t.Helper()
	queues := sqs.NewFromConfig(localtest.AWS(w.t))
	queue, err := queues.GetQueueUrl(w.t.Context(), &sqs.GetQueueUrlInput{QueueName: &w.resources.DeadLetters})
	w.must(err)
	got, err := queues.GetQueueAttributes(w.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{
		sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}})
	w.must(err)
	total := 0
	for _, text := range got.Attributes {
		n := 0
		_, err := fmt.Sscan(text, &n)
		w.must(err)
		total += n
	}
	return total
}

// empty waits until queue and ledger have nothing any more, and everything is
// indexed, each record once.
func (w *world) empty(records int) {
	w.t.Helper()
	w.await(func() error {
		entries, left := w.open()
		if letters := w.letters(); letters+entries+left > 0 {
			return fmt.Errorf("%d letters, %d entries with %d records", letters, entries, left)
		}
		return nil
	})
	w.awaitDocuments(records)
	report, err := audit.Run(w.t.Context(), w.stores)
	w.must(err)
	if report.Others != uint64(records) || report.Duplicated+report.OthersDead > 0 {
		w.t.Errorf("%d records: %+v", records, report)
	}
}

// A field of the wrong type has records refused; the mapping is mended; one
// command brings all of them home, and empties queue and ledger. Meanwhile the
// worker is killed.
func TestOneCommandBringsDeadLettersHome(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"ingest", "direct"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := start(t, nil)
			c := newConflict(w)
			w.leaveLetters()
			const records = 300
			bad := c.events(0, records)
			w.await(func() error {
				if _, dead := w.open(); dead != bad {
					return fmt.Errorf("%d records are in the ledger, want %d", dead, bad)
				}
				return nil
			})
			w.awaitDocuments(records - bad)
			w.await(func() error {
				if w.letters() == 0 {
					return fmt.Errorf("no letter reports them")
				}
				return nil
			})

			args := []string{"dlq", "reprocess", "--wait"}
			if mode == "direct" {
				args = append(args, "--direct")
			}
			dry, err := w.Starter(t.Context(), append(args, "--dry-run")...)
			w.must(err)
			if want := fmt.Sprintf("%d in ", bad); !strings.Contains(dry, want) || !strings.Contains(dry, "document_parsing_exception") {
				t.Errorf("the dry run says:\n%s", dry)
			}
			if _, dead := w.open(); dead != bad {
				t.Errorf("after a dry run %d records are in the ledger", dead)
			}

			c.mend()
			_, err = w.Starter(t.Context(), "letters", "resume")
			w.must(err)
			type outcome struct {
				said string
				err  error
			}
			ended := make(chan outcome, 1)
			go func() {
				said, err := w.Starter(t.Context(), args...)
				ended <- outcome{said, err}
			}()
			// It dies when something has been done, or as soon as it is known that all is.
			w.await(func() error {
				if entries, _ := w.open(); entries == bad && w.letters() > 0 {
					return fmt.Errorf("nothing was done yet")
				}
				return nil
			})
			w.worker.Kill()
			w.must(w.worker.Restart(t.Context()))
			end := <-ended
			w.must(end.err)
			if !strings.Contains(end.said, "done") {
				t.Errorf("it says:\n%s", end.said)
			}
			w.empty(records)
			listed, err := w.Starter(t.Context(), "dlq", "list")
			w.must(err)
			if !strings.Contains(listed, "none") {
				t.Errorf("the list says:\n%s", listed)
			}
		})
	}
}

// AWS Lambda's own message about records of the stream, delivered twice, and one
// that cannot be read.
func TestLambdasLettersAreKeptAndBroughtHome(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := newConflict(w)
	const records = 30
	c.events(1, 1) // a good one: the shard is read
	w.awaitDocuments(1)
	// What Lambda did not process is in the stream, and is not processed: the
	// shards are stopped.
	_, err := w.Starter(t.Context(), "process", "stop")
	w.must(err)
	_, err = w.Starter(t.Context(), "letters", "start")
	w.must(err)
	streams := kinesis.NewFromConfig(localtest.AWS(t))
	described, err := streams.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &w.resources.Stream})
	w.must(err)
	var first, last, shard string
	for n := range records {
		at := time.Now().UTC()
		data := telemetry.AppendRecord(nil, telemetry.Head{
			Index: c.index, ReceivedAt: at, Tenant: w.tenant, Region: "eu-west-1", ID: fmt.Sprint("lambda-", n), Type: "event", Timestamp: at,
		}, []byte(`{"amount":1}`))
		put, err := streams.PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: &w.resources.Stream, Data: data, PartitionKey: aws.String("same"),
		})
		w.must(err)
		if first == "" {
			first, shard = *put.SequenceNumber, *put.ShardId
		}
		last = *put.SequenceNumber
	}
	queues := sqs.NewFromConfig(localtest.AWS(t))
	queue, err := queues.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &w.resources.DeadLetters})
	w.must(err)
	send := func(body string) {
		_, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: &body})
		w.must(err)
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
	w.await(func() error {
		entries, kept := w.open()
		if letters := w.letters(); letters != 1 || kept != records || entries != 2 {
			return fmt.Errorf("%d letters, %d entries with %d records", letters, entries, kept)
		}
		return nil
	})
	w.await(func() error {
		status, err := w.Starter(t.Context(), "letters", "status")
		w.must(err)
		if !strings.Contains(status, "unreadable       1\n") || !strings.Contains(status, "it is not what it says in JSON") {
			return fmt.Errorf("the status says:\n%s", status)
		}
		return nil
	})
	said, err := w.Starter(t.Context(), "dlq", "reprocess", "--direct", "--wait")
	w.must(err)
	// What is trimmed stays, and is never counted as done.
	if !strings.Contains(said, "unrecoverable") || !strings.Contains(said, "/loss-1-2.") {
		t.Errorf("it says:\n%s", said)
	}
	if entries, kept := w.open(); entries != 1 || kept != 0 {
		t.Errorf("%d entries with %d records are open", entries, kept)
	}
	// The shards go on, and meet the same records: they are there once.
	_, err = w.Starter(t.Context(), "process", "start")
	w.must(err)
	w.await(func() error {
		shown, err := w.Starter(t.Context(), "shards", "--json")
		w.must(err)
		if !strings.Contains(shown, last) {
			return fmt.Errorf("the shards are at %s", shown)
		}
		return nil
	})
	w.awaitDocuments(1 + records)
	if report, err := audit.Run(t.Context(), w.stores); err != nil || report.Duplicated > 0 || report.Others != 1+records {
		t.Errorf("%+v, %v", report, err)
	}
}

// Two operators reprocess at the same time: one learns of the other.
func TestTwoOperatorsHaveOneEffect(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := newConflict(w)
	const records = 90
	bad := c.events(0, records)
	w.awaitDocuments(records - bad)
	w.await(func() error {
		if _, dead := w.open(); dead != bad {
			return fmt.Errorf("%d records are in the ledger, want %d", dead, bad)
		}
		return nil
	})
	c.mend()
	// The first one finds no worker until the second has asked.
	w.worker.Kill()
	_, err := w.Starter(t.Context(), "dlq", "reprocess", "--by", "ada")
	w.must(err)
	_, err = w.Starter(t.Context(), "dlq", "reprocess", "--by", "grace")
	if err == nil || !strings.Contains(err.Error(), "reprocess/"+w.resources.Stream+" runs already") {
		t.Errorf("the second was told %v", err)
	}
	w.must(w.worker.Restart(t.Context()))
	w.empty(records)
	w.await(func() error {
		status, err := w.Starter(t.Context(), "dlq", "status")
		w.must(err)
		if !strings.Contains(status, "done") || !strings.Contains(status, "by ada") {
			return fmt.Errorf("the status says:\n%s", status)
		}
		return nil
	})
}
