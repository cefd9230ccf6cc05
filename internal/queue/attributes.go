package queue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Attributes are how a queue is set up, and how much is in it.
type Attributes struct {
	URL       string
	Retention time.Duration
	// Messages wait to be received, and InFlight were: both as SQS estimates them.
	Messages, InFlight int
	// RedrivePolicy is where SQS moves a message that was received too often, as JSON; empty: nowhere.
	RedrivePolicy string
}

// Describe returns how a queue is set up, and how much is in it. The error wraps QueueDoesNotExist where there is none.
func Describe(ctx context.Context, client *sqs.Client, name string) (Attributes, error) {
	found, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name}, bounded)
	if err != nil {
		return Attributes{}, fmt.Errorf("find queue %s: %w", name, err)
	}
	const (
		retention, redrive = types.QueueAttributeNameMessageRetentionPeriod, types.QueueAttributeNameRedrivePolicy
		messages, inFlight = types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible
		delayed            = types.QueueAttributeNameApproximateNumberOfMessagesDelayed
	)
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{retention, redrive, messages, inFlight, delayed},
	}, bounded)
	if err != nil {
		return Attributes{}, fmt.Errorf("read the attributes of queue %s: %w", name, err)
	}
	kept, err := strconv.Atoi(out.Attributes[string(retention)])
	if err != nil {
		return Attributes{}, fmt.Errorf("read the retention of queue %s: %w", name, err)
	}
	count := func(names ...types.QueueAttributeName) (sum int) {
		for _, name := range names {
			n, _ := strconv.Atoi(out.Attributes[string(name)]) // an estimate, which may be left out
			sum += n
		}
		return sum
	}
	return Attributes{
		Messages: count(messages, delayed), InFlight: count(inFlight),
		URL: aws.ToString(found.QueueUrl), Retention: time.Duration(kept) * time.Second, RedrivePolicy: out.Attributes[string(redrive)],
	}, nil
}
