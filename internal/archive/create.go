package archive

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// defaultRegion is the one that CreateBucket must not be told (API reference,
// 'LocationConstraint').
const defaultRegion = "us-east-1"

// Create makes the bucket of that name in the client's region, and reports
// whether it was not there before. One that is there is left as it is.
func Create(ctx context.Context, client *s3.Client, name string) (created bool, err error) {
	_, err = client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	switch status(err) {
	case http.StatusNotFound:
	case http.StatusForbidden:
		return false, fmt.Errorf("create bucket %s: another account owns it, or these credentials may not list it: %w", name, err)
	case http.StatusMovedPermanently:
		return false, fmt.Errorf("create bucket %s: it is in another region than %s: %w", name, client.Options().Region, err)
	default:
		if err != nil {
			return false, fmt.Errorf("look for bucket %s: %w", name, err)
		}
		return false, nil
	}
	input := &s3.CreateBucketInput{Bucket: &name}
	if region := client.Options().Region; region != defaultRegion {
		input.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
	}
	_, err = client.CreateBucket(ctx, input)
	var ours *types.BucketAlreadyOwnedByYou
	if errors.As(err, &ours) { // another client was doing the same
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("create bucket %s: %w", name, err)
	}
	return true, nil
}
