package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// unusedKey is a key under which nothing is ever kept.
const unusedKey = "doctor/unused"

// noETag is that of no object, so nothing comes of a request for the object that has it. S3 refuses
// who may not do such a request at all before it looks at the condition.
const noETag = `"00000000000000000000000000000000"`

// Rights are why these credentials may not do something with the objects of a bucket: nil where they may.
type Rights struct{ List, Read, Write, Delete error }

// Rights tries each of them, and changes nothing: also where the bucket keeps versions. Where S3 does
// not answer, or has no such bucket, List alone says so.
func (b *Bucket) Rights(ctx context.Context) (r Rights) {
	_, err := b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &b.prefix, MaxKeys: aws.Int32(1)})
	r.List = b.right("list", err)
	if err != nil && status(err) != http.StatusForbidden {
		return r
	}
	if _, err = b.Stat(ctx, unusedKey); errors.Is(err, ErrNotFound) {
		err = nil
	}
	r.Read = b.right("read", err)
	_, err = b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: b.key(unusedKey), Body: bytes.NewReader(nil), IfMatch: aws.String(noETag)})
	written := err == nil // where conditions are not known
	r.Write = b.right("write", conditionOf(err))
	remove := &s3.DeleteObjectInput{Bucket: &b.name, Key: b.key(unusedKey), IfMatch: aws.String(noETag)}
	if written {
		remove.IfMatch = nil
	}
	_, err = b.client.DeleteObject(ctx, remove)
	r.Delete = b.right("delete", conditionOf(err))
	return r
}

func (b *Bucket) right(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s objects of s3://%s/%s: %w", what, b.name, b.prefix, err)
	}
	return nil
}

// conditionOf forgives that the object with noETag is not there (S3 user guide, 'Conditional requests').
func conditionOf(err error) error {
	if code := status(err); code == http.StatusPreconditionFailed || code == http.StatusNotFound && errors.Is(found(err), ErrNotFound) {
		return nil
	}
	return err
}
