package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/deploy/local/localtest"
)

// leaveLetters keeps messages in the dead-letter queue, for a test to read them.
func (w *world) leaveLetters() {
	w.t.Helper()
	_, err := w.Starter(w.t.Context(), "letters", "pause", "--reason", "the test reads them")
	w.must(err)
}

// awaitDead waits until the ledger holds exactly these records, by id, with
// these types of errors and their payloads, and the dead-letter queue reports
// them.
func (w *world) awaitDead(want map[string]string) {
	w.t.Helper()
	w.await(func() error {
		if got := w.ledger(); !maps.Equal(got, want) {
			return fmt.Errorf("the ledger holds %v, want %v", got, want)
		}
		return nil
	})
	told := map[string]string{}
	w.await(func() error {
		w.receiveLetters(told)
		if !maps.Equal(told, want) {
			return fmt.Errorf("the dead-letter queue reports %v, want %v", told, want)
		}
		return nil
	})
}

// ledger reads the types of errors of all its records, by id.
func (w *world) ledger() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	listed, err := w.stores.S3.ListObjectsV2(w.t.Context(), &s3.ListObjectsV2Input{Bucket: &w.stores.Bucket, Prefix: aws.String("ledger/open/")})
	w.must(err)
	for _, object := range listed.Contents {
		got, err := w.stores.S3.GetObject(w.t.Context(), &s3.GetObjectInput{Bucket: &w.stores.Bucket, Key: object.Key})
		var resolved *types.NoSuchKey // since it was listed
		if errors.As(err, &resolved) {
			continue
		}
		w.must(err)
		var entry struct {
			Records []struct {
				ID    string
				Data  []byte
				Error struct{ Type, Reason string }
			}
		}
		err = json.NewDecoder(got.Body).Decode(&entry)
		got.Body.Close()
		w.must(err)
		for _, r := range entry.Records {
			if r.Error.Reason == "" || !strings.Contains(string(r.Data), `"id":"`+r.ID+`"`) {
				w.t.Errorf("the ledger has of %s the reason %q and the payload %s", r.ID, r.Error.Reason, r.Data)
			}
			found[r.ID] = r.Error.Type
		}
	}
	return found
}

// receiveLetters reads what is in the dead-letter queue at the moment.
func (w *world) receiveLetters(told map[string]string) {
	w.t.Helper()
	queues := sqs.NewFromConfig(localtest.AWS(w.t))
	queue, err := queues.GetQueueUrl(w.t.Context(), &sqs.GetQueueUrlInput{QueueName: &w.resources.DeadLetters})
	w.must(err)
	received, err := queues.ReceiveMessage(w.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10})
	w.must(err)
	for _, message := range received.Messages {
		var letter struct {
			Info struct {
				ShardID, StartSequenceNumber, EndSequenceNumber, StreamARN string
				BatchSize                                                  int
			} `json:"KinesisBatchInfo"`
			Millrace struct {
				Records []struct {
					ID    string
					Error struct{ Type string }
				}
			}
		}
		w.must(json.Unmarshal([]byte(*message.Body), &letter))
		info := letter.Info
		if info.BatchSize != len(letter.Millrace.Records) || info.ShardID == "" || info.StartSequenceNumber == "" ||
			!strings.HasSuffix(info.StreamARN, "stream/"+w.resources.Stream) {
			w.t.Errorf("a letter points at %+v", info)
		}
		for _, r := range letter.Millrace.Records {
			told[r.ID] = r.Error.Type
		}
	}
}
