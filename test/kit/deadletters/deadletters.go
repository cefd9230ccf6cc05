// Package deadletters gives tests a real ledger and a real dead-letter queue.
package deadletters

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/awshttp"
	"millrace/internal/ledger"
	"millrace/internal/queue"
	"millrace/test/kit/faultproxy"
)

// Secret stands for what only the ledger may show: Letters fails where it meets it.
const Secret = "hunter2"

// Stores are a bucket with a ledger and a dead-letter queue of a test's own.
type Stores struct {
	*testing.T
	Ledger *ledger.Ledger
	Queue  *queue.DeadLetters // behind Proxy
	Proxy  *faultproxy.Proxy
	SQS    *sqs.Client // past it
	URL    string      // of the queue
}

// New makes them, on the local stack, and deletes them when the test ends.
func New(t *testing.T) *Stores {
	t.Helper()
	cfg, name := localtest.AWS(t), localtest.Name(t, "")
	cfg.HTTPClient = awshttp.Wrap(nil)
	objects := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := objects.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(cfg.Region)},
	}); err != nil {
		t.Fatal(err)
	}
	bucket := archive.Open(objects, name)
	s := &Stores{T: t, Ledger: ledger.New(bucket, "telemetry"), SQS: sqs.NewFromConfig(cfg)}
	if err := queue.Create(t.Context(), s.SQS, name); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.Proxy, err = faultproxy.Start(t.Context(), aws.ToString(cfg.BaseEndpoint)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Proxy.Close() })
	proxied := cfg.Copy()
	proxied.BaseEndpoint = aws.String(s.Proxy.URL())
	s.Queue, err = queue.OpenDeadLetters(t.Context(), sqs.NewFromConfig(proxied), name)
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.SQS.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	s.URL = *found.QueueUrl
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for key, err := range bucket.Keys(ctx, "") {
			if err == nil {
				_ = bucket.Delete(ctx, key)
			}
		}
		_, _ = objects.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
		_, _ = s.SQS.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &s.URL})
	})
	return s
}

// Entries reads the open part of the ledger, by key.
func (s *Stores) Entries() map[string]ledger.Entry {
	s.Helper()
	all := map[string]ledger.Entry{}
	for key, err := range s.Ledger.List(s.Context(), ledger.Filter{}) {
		if err != nil {
			s.Fatal(err)
		}
		if all[key], err = s.Ledger.Get(s.Context(), key); err != nil {
			s.Fatal(err)
		}
	}
	return all
}

// Letters takes all dead letters, in the order of their ledger keys.
func (s *Stores) Letters() (letters []queue.DeadLetter) {
	s.Helper()
	for {
		got, err := s.SQS.ReceiveMessage(s.Context(), &sqs.ReceiveMessageInput{QueueUrl: &s.URL, MaxNumberOfMessages: 10, VisibilityTimeout: 3600})
		if err != nil {
			s.Fatal(err)
		}
		if len(got.Messages) == 0 {
			slices.SortFunc(letters, func(a, b queue.DeadLetter) int { return strings.Compare(a.Millrace.Ledger, b.Millrace.Ledger) })
			return letters
		}
		for _, m := range got.Messages {
			if strings.Contains(*m.Body, Secret) {
				s.Errorf("a dead letter shows a body: %s", *m.Body)
			}
			letter, err := queue.ParseDeadLetter([]byte(*m.Body))
			if err != nil {
				s.Fatal(err)
			}
			letters = append(letters, letter)
		}
	}
}
