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

// Attributes are how a queue is set up.
type Attributes struct {
	URL       string
	Retention time.Duration
	// RedrivePolicy is where SQS moves a message that was received too often, as JSON; empty: nowhere.
	RedrivePolicy string
}

// Describe returns how a queue is set up. The error wraps QueueDoesNotExist where there is none.
func Describe(ctx context.Context, client *sqs.Client, name string) (Attributes, error) {
	found, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name}, bounded)
	if err != nil {
		return Attributes{}, fmt.Errorf("find queue %s: %w", name, err)
	}
	const retention, redrive = types.QueueAttributeNameMessageRetentionPeriod, types.QueueAttributeNameRedrivePolicy
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{retention, redrive},
	}, bounded)
	if err != nil {
		return Attributes{}, fmt.Errorf("read the attributes of queue %s: %w", name, err)
	}
	kept, err := strconv.Atoi(out.Attributes[string(retention)])
	if err != nil {
		return Attributes{}, fmt.Errorf("read the retention of queue %s: %w", name, err)
	}
	return Attributes{
		URL: aws.ToString(found.QueueUrl), Retention: time.Duration(kept) * time.Second, RedrivePolicy: out.Attributes[string(redrive)],
	}, nil
}
