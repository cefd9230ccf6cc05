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
func (s *system) leaveLetters() {
	s.t.Helper()
	_, err := s.Starter(s.t.Context(), "letters", "pause", "--reason", "the test reads them")
	s.must(err)
}

// awaitDead waits until the ledger holds exactly these records, by id, with
// these types of errors and their payloads, and the dead-letter queue reports
// them.
func (s *system) awaitDead(want map[string]string) {
	s.t.Helper()
	s.await(func() error {
		if got := s.ledger(); !maps.Equal(got, want) {
			return fmt.Errorf("the ledger holds %v, want %v", got, want)
		}
		return nil
	})
	told := map[string]string{}
	s.await(func() error {
		s.receiveLetters(told)
		if !maps.Equal(told, want) {
			return fmt.Errorf("the dead-letter queue reports %v, want %v", told, want)
		}
		return nil
	})
}

// ledger reads the types of errors of all its records, by id.
func (s *system) ledger() map[string]string {
	s.t.Helper()
	found := map[string]string{}
	listed, err := s.stores.S3.ListObjectsV2(s.t.Context(), &s3.ListObjectsV2Input{Bucket: &s.stores.Bucket, Prefix: aws.String("ledger/open/")})
	s.must(err)
	for _, object := range listed.Contents {
		got, err := s.stores.S3.GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: &s.stores.Bucket, Key: object.Key})
		var resolved *types.NoSuchKey // since it was listed
		if errors.As(err, &resolved) {
			continue
		}
		s.must(err)
		var entry struct {
			Records []struct {
				ID    string
				Data  []byte
				Error struct{ Type, Reason string }
			}
		}
		err = json.NewDecoder(got.Body).Decode(&entry)
		got.Body.Close()
		s.must(err)
		for _, r := range entry.Records {
			if r.Error.Reason == "" || !strings.Contains(string(r.Data), `"id":"`+r.ID+`"`) {
				s.t.Errorf("the ledger has of %s the reason %q and the payload %s", r.ID, r.Error.Reason, r.Data)
			}
			found[r.ID] = r.Error.Type
		}
	}
	return found
}

// receiveLetters reads what is in the dead-letter queue at the moment.
func (s *system) receiveLetters(told map[string]string) {
	s.t.Helper()
	queues := sqs.NewFromConfig(localtest.AWS(s.t))
	queue, err := queues.GetQueueUrl(s.t.Context(), &sqs.GetQueueUrlInput{QueueName: &s.resources.DeadLetters})
	s.must(err)
	received, err := queues.ReceiveMessage(s.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10})
	s.must(err)
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
		s.must(json.Unmarshal([]byte(*message.Body), &letter))
		info := letter.Info
		if info.BatchSize != len(letter.Millrace.Records) || info.ShardID == "" || info.StartSequenceNumber == "" ||
			!strings.HasSuffix(info.StreamARN, "stream/"+s.resources.Stream) {
			s.t.Errorf("a letter points at %+v", info)
		}
		for _, r := range letter.Millrace.Records {
			told[r.ID] = r.Error.Type
		}
	}
}
