package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	lettersAtOnce = 10               // as many as SQS gives and takes
	lettersHidden = 10 * time.Minute // longer than it takes to read all
	lettersWait   = time.Second      // without any, the queue is empty
)

// tale is what a dead letter says of one record: which it is, and in which
// entry of the ledger.
type tale struct{ entry, id string }

// TellsOf reports whether the dead-letter queue has a record with an id.
func (s Stores) TellsOf(ctx context.Context, id string) (bool, error) {
	told, err := s.tales(ctx)
	for t := range told {
		if t.id == id {
			return true, err
		}
	}
	return false, err
}

// tales reads the dead-letter queue and puts everything back. No other process may
// take from it meanwhile.
func (s Stores) tales(ctx context.Context) (told map[tale]bool, err error) {
	told = map[tale]bool{}
	var held []*string
	defer func() { err = errors.Join(err, s.putBack(ctx, held)) }()
	for {
		got, err := s.Queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &s.DeadLetters, MaxNumberOfMessages: lettersAtOnce,
			VisibilityTimeout: int32(lettersHidden.Seconds()), WaitTimeSeconds: int32(lettersWait.Seconds()),
		})
		if err != nil {
			return nil, fmt.Errorf("receive letters: %w", err)
		}
		if len(got.Messages) == 0 {
			return told, nil
		}
		for _, message := range got.Messages {
			held = append(held, message.ReceiptHandle)
			var letter struct {
				Millrace struct {
					Ledger  string
					Omitted int
					Records []struct {
						ID    string
						Error struct{ Type string }
					}
				}
			}
			if err := json.Unmarshal([]byte(aws.ToString(message.Body)), &letter); err != nil {
				return nil, fmt.Errorf("decode letter %s: %w", aws.ToString(message.MessageId), err)
			}
			if letter.Millrace.Omitted > 0 { // it reports the rest of its entry by their number
				told[tale{entry: stateless(letter.Millrace.Ledger)}] = true
			}
			for _, r := range letter.Millrace.Records {
				if r.Error.Type != "" {
					told[tale{stateless(letter.Millrace.Ledger), r.ID}] = true
				}
			}
		}
	}
}

// putBack shows letters to others at once.
func (s Stores) putBack(ctx context.Context, held []*string) error {
	for len(held) > 0 {
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &s.DeadLetters}
		for i, handle := range held[:min(len(held), lettersAtOnce)] {
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), ReceiptHandle: handle, VisibilityTimeout: 0,
			})
		}
		out, err := s.Queues.ChangeMessageVisibilityBatch(ctx, in)
		if err != nil {
			return fmt.Errorf("put letters back: %w", err)
		}
		if len(out.Failed) > 0 {
			return fmt.Errorf("put %d letters back: %s", len(out.Failed), aws.ToString(out.Failed[0].Message))
		}
		held = held[len(in.Entries):]
	}
	return nil
}
