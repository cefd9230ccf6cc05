package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"

	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// dead are the faults of the way home: some records are refused, the cause is
// mended, and in the end everything is indexed.
var dead = []scenario{
	{
		number: 18, name: "trimmed-before-reprocessing", alarms: alarms.Expected{Must: []string{"DeadLettersRise", "RecordsTrimmedUnread"}, May: alarms.Late}, ownDay: true, prepare: refuseEvents,
		aws: []faultproxy.Rule{{Name: "18 trimmed", Operation: "GetShardIterator", Holds: "AT_SEQUENCE_NUMBER", Fault: faultproxy.AWSError(http.StatusBadRequest, "InvalidArgumentException")}},
		// The rule is for what comes behind the load.
		fault: func(context.Context, *running) error { return nil }, settle: reprocessTrimmed,
	},
	{
		number: 19, name: "reprocessed-twice", alarms: alarms.Expected{Must: []string{"DeadLettersRise", "NoWorker", "TargetDown"}, May: alarms.AndLate("NothingIsProcessed")}, ownDay: true, prepare: refuseEvents, settle: reprocessTwice,
		check: func(_ context.Context, s *running, _ audit.Report) error {
			if s.before == 0 {
				return errors.New("no letter was delivered twice")
			}
			return nil
		},
	},
}

// refuseEvents makes an index that no event fits.
func refuseEvents(ctx context.Context, s *running) error {
	_, err := s.ask(ctx, http.MethodPut, "/"+s.index("event"), refusesAll)
	return err
}

// awaitRefused waits until all events, and nothing else, are in the ledger,
// and then mends the cause: the index is made anew from the templates.
func (s *running) awaitRefused(ctx context.Context) error {
	sent := s.sent
	sent.Dead = func(n uint64) bool { return s.sent.Source.Type(n) == "event" }
	if err := s.until(ctx, func() (bool, error) {
		report, err := audit.Run(ctx, s.stores, sent)
		if err == nil && report.Lost == 0 && (report.Bad == 0 || report.DeadLettered != report.Bad) {
			err = fmt.Errorf("%d events, %d records in the ledger", report.Bad, report.DeadLettered)
		}
		return report.Lost == 0, err
	}); err != nil {
		return fmt.Errorf("the events are not all refused: %w", err)
	}
	if err := s.hold(ctx, 0, "DeadLettersRise"); err != nil {
		return err
	}
	_, err := s.ask(ctx, http.MethodDelete, "/"+s.index("event"), "")
	return err
}

// reprocessTrimmed brings home what the stream has no longer: from the ledger,
// which has the payload. What is found nowhere is listed, and never done.
func reprocessTrimmed(ctx context.Context, s *running) error {
	if err := s.awaitRefused(ctx); err != nil {
		return err
	}
	described, err := s.streams.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s.resources.Stream})
	if err != nil {
		return fmt.Errorf("describe the stream: %w", err)
	}
	// AWS Lambda's message has no payload.
	letter := fmt.Sprintf(`{"version":"1.0","timestamp":"2026-11-23T00:00:00.000Z","KinesisBatchInfo":{"shardId":"shardId-000000000000",
		"startSequenceNumber":"1","endSequenceNumber":"2","batchSize":2,"streamArn":%q}}`, *described.StreamDescriptionSummary.StreamARN)
	if _, err := s.queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &s.deadLetters, MessageBody: &letter}); err != nil {
		return fmt.Errorf("send a letter: %w", err)
	}
	s.breakAll()
	defer s.pass()
	said, err := s.pipeline.Starter(ctx, "dlq", "reprocess", "--tenant", s.tenant(), "--wait")
	if err != nil {
		return err
	}
	if !strings.Contains(said, "done") {
		return fmt.Errorf("reprocessing says %s", said)
	}
	loss := ""
	if err := s.keepLetters(ctx, func() error {
		return s.until(ctx, func() (bool, error) {
			loss, err = s.lossEntry(ctx)
			return loss != "", err
		})
	}); err != nil {
		return fmt.Errorf("the trimmed range is not in the ledger: %w", err)
	}
	if said, err = s.pipeline.Starter(ctx, "dlq", "reprocess", loss, "--wait"); err != nil {
		return err
	}
	if !strings.Contains(said, "unrecoverable") {
		return fmt.Errorf("reprocessing a lost range says %s", said)
	}
	return s.seen()
}

// keepLetters has the letters taken from the queue while something is done, and
// until there are none.
func (s *running) keepLetters(ctx context.Context, something func() error) error {
	if _, err := s.pipeline.Starter(ctx, "letters", "resume"); err != nil {
		return err
	}
	err := something()
	if err == nil {
		err = s.until(ctx, func() (bool, error) {
			left, err := s.queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
				QueueUrl: &s.deadLetters, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
			})
			if err != nil {
				return false, fmt.Errorf("count the letters: %w", err)
			}
			visible, held := left.Attributes["ApproximateNumberOfMessages"], left.Attributes["ApproximateNumberOfMessagesNotVisible"]
			return visible == "0" && held == "0", nil
		})
	}
	return errors.Join(err, s.pauseLetters(ctx))
}

// lossEntry finds the ledger's entry about the range that is lost.
func (s *running) lossEntry(ctx context.Context) (key string, err error) {
	out, err := s.pipeline.Starter(ctx, "dlq", "list", "--shard", "shardId-000000000000", "--json")
	if err != nil {
		return "", err
	}
	var groups []struct{ Keys []string }
	if err := json.Unmarshal([]byte(out), &groups); err != nil {
		return "", fmt.Errorf("read the list: %w", err)
	}
	for _, group := range groups {
		for _, key := range group.Keys {
			if strings.Contains(key, "/loss-1-2.") {
				return key, nil
			}
		}
	}
	return "", nil
}

// reprocessTwice delivers every letter twice, and has two operators reprocess
// at once.
func reprocessTwice(ctx context.Context, s *running) error {
	if err := s.awaitRefused(ctx); err != nil {
		return err
	}
	again, err := s.deliverAgain(ctx)
	s.before = float64(again)
	if err != nil {
		return err
	}
	return s.keepLetters(ctx, func() error { return s.reprocessAtOnce(ctx) })
}

// reprocessAtOnce has two operators reprocess: one of them does.
func (s *running) reprocessAtOnce(ctx context.Context) error {
	// The first one finds no worker until the second has asked.
	if err := s.end(ctx, s.worker); err != nil {
		return err
	}
	told := make([]error, 2)
	var operators errgroup.Group
	for i, who := range []string{"ada", "grace"} {
		operators.Go(func() error {
			_, told[i] = s.pipeline.Starter(ctx, "dlq", "reprocess", "--tenant", s.tenant(), "--by", who)
			return nil
		})
	}
	_ = operators.Wait() // they return no error
	refused := errors.Join(told...)
	if (told[0] == nil) == (told[1] == nil) || !strings.Contains(refused.Error(), "runs already") {
		return fmt.Errorf("two operators at once were told: %w", refused)
	}
	if err := s.hold(ctx, 0, "NoWorker", "TargetDown"); err != nil {
		return err
	}
	if err := s.worker.Restart(ctx); err != nil {
		return err
	}
	if err := s.until(ctx, func() (bool, error) {
		said, err := s.pipeline.Starter(ctx, "dlq", "status")
		return strings.Contains(said, "done"), err
	}); err != nil {
		return fmt.Errorf("the first operator's reprocessing does not end: %w", err)
	}
	return nil
}

// deliverAgain sends every letter of the queue a second time.
func (s *running) deliverAgain(ctx context.Context) (letters int, err error) {
	var all []sqstypes.Message
	for {
		got, err := s.queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &s.deadLetters, MaxNumberOfMessages: 10, VisibilityTimeout: 60, WaitTimeSeconds: 1})
		if err != nil {
			return 0, fmt.Errorf("receive letters: %w", err)
		}
		if len(got.Messages) == 0 {
			break
		}
		all = append(all, got.Messages...)
	}
	for _, message := range all {
		if _, err := s.queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &s.deadLetters, MessageBody: message.Body}); err != nil {
			return letters, fmt.Errorf("send a letter again: %w", err)
		}
		letters++
		if _, err := s.queues.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
			QueueUrl: &s.deadLetters, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: int32(time.Second.Seconds()),
		}); err != nil {
			return letters, fmt.Errorf("let go of a letter: %w", err)
		}
	}
	return letters, nil
}
