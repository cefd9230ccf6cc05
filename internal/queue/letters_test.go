package queue_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/internal/queue"
)

// TestDeadLettersAreHeldUntilDeleted, or given back, or forgotten.
func TestDeadLettersAreHeldUntilDeleted(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	dlq, err := queue.OpenDeadLetters(t.Context(), q.client, q.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{lambdas, "smoke"} {
		if _, err := q.client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: aws.String(body)}); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() (letters []queue.Letter) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); len(letters) < 2 && time.Now().Before(deadline); {
			got, err := dlq.Receive(t.Context(), 10, time.Second, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			letters = append(letters, got...)
		}
		return letters
	}
	letters := receive()
	if len(letters) != 2 {
		t.Fatalf("%d letters came", len(letters))
	}
	if letters[0].Damaged != nil {
		letters[0], letters[1] = letters[1], letters[0]
	}
	lambda, smoke := letters[0], letters[1]
	if lambda.Damaged != nil || lambda.Batch == nil || lambda.Batch.Size != 500 || lambda.ID == "" || time.Since(lambda.Sent).Abs() > time.Minute {
		t.Errorf("Lambda's came as %+v", lambda)
	}
	if !errors.Is(smoke.Damaged, queue.ErrNotDeadLetter) {
		t.Errorf("another came as %+v", smoke)
	}
	if hidden, err := dlq.Receive(t.Context(), 10, 0, time.Hour); err != nil || len(hidden) > 0 {
		t.Errorf("while they are held %d come, %v", len(hidden), err)
	}
	if err := dlq.Delete(t.Context(), lambda); err != nil {
		t.Error(err)
	}
	if err := dlq.Hide(t.Context(), smoke, 0); err != nil {
		t.Error(err)
	}
	got, err := dlq.Receive(t.Context(), 10, 5*time.Second, time.Hour)
	if err != nil || len(got) != 1 || got[0].ID != smoke.ID {
		t.Errorf("given back were %+v, %v", got, err)
	}
}
