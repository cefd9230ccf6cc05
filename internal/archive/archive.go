// Package archive keeps objects in S3: the ledger, the backup, and messages
// too large for the queue.
//
// A Bucket is a bucket or, by Under, the part of it behind a prefix; all keys
// given and returned are relative to that prefix. Writes are whole objects.
// PutNew never replaces one, which is what lets several writers work on one
// chain of objects without a lock.
package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// ErrNotFound says that there is no object under a key. It is also an
// fs.ErrNotExist, for those who know the archive by an interface only.
var ErrNotFound = fmt.Errorf("no such object: %w", fs.ErrNotExist)

// ErrWithheld says that an object is there, and cannot be read until an operator
// acts: it is archived, or its key may not be used.
var ErrWithheld = errors.New("the object is withheld")

// conditionalAttempts bounds the attempts of a conditional write that meets
// another one on the same key: S3 answers 409 ConditionalRequestConflict to
// one of them, which means to try again (S3 user guide, 'Conditional writes').
const conditionalAttempts = 8

// conditionalBackoff bounds the waits between them: the other write is short,
// and against an outage as many attempts as that would take a minute.
const conditionalBackoff = time.Second

// Bucket is an S3 bucket, or the part of one behind a prefix. It is safe for
// concurrent use.
type Bucket struct {
	client  *s3.Client
	name    string
	prefix  string
	writing Writing
}

// Open returns the bucket of that name. It makes no call.
func Open(client *s3.Client, bucket string) *Bucket {
	return &Bucket{client: client, name: bucket}
}

// Under returns the part of the bucket whose keys begin with prefix, which
// should end in a slash.
func (b *Bucket) Under(prefix string) *Bucket {
	other := *b
	other.prefix += prefix
	return &other
}

// Name returns the bucket's name, without the prefix.
func (b *Bucket) Name() string { return b.name }

// Object describes an object without its body.
type Object struct {
	Key      string
	Size     int64 // in bytes
	ETag     string
	Modified time.Time
	// Meta is the metadata given to PutNew, its keys in lower case. Listing
	// does not know it.
	Meta map[string]string
}

// PutNew writes an object if there is none under the key yet, and reports
// whether it did. False may also mean that an earlier attempt of this very
// call succeeded while its answer was lost: what is there counts. A large
// object is uploaded in parts; it is there whole or not at all.
func (b *Bucket) PutNew(ctx context.Context, key string, body []byte, meta map[string]string) (created bool, err error) {
	if len(body) >= partsFrom {
		if created, err = b.putParts(ctx, key, body, meta); err != nil {
			return false, fmt.Errorf("create s3://%s/%s%s: %w", b.name, b.prefix, key, err)
		}
		return created, nil
	}
	_, err = b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.name, Key: b.key(key), Body: bytes.NewReader(body), Metadata: meta, IfNoneMatch: aws.String("*"),
		SSEKMSKeyId: b.writing.key(), ServerSideEncryption: types.ServerSideEncryption(b.writing.Encryption),
		StorageClass: types.StorageClass(b.writing.StorageClass),
	}, func(o *s3.Options) {
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, "ConditionalRequestConflict")
		o.Retryer = retry.AddWithMaxBackoffDelay(retry.AddWithMaxAttempts(o.Retryer, conditionalAttempts), conditionalBackoff)
	})
	if status(err) == http.StatusPreconditionFailed {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("create s3://%s/%s%s: %w", b.name, b.prefix, key, err)
	}
	return true, nil
}

// Put writes an object, in place of the one under that key if there is one.
func (b *Bucket) Put(ctx context.Context, key string, body []byte) error {
	_, err := b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: b.key(key), Body: bytes.NewReader(body)})
	if err != nil {
		return fmt.Errorf("put s3://%s/%s%s: %w", b.name, b.prefix, key, err)
	}
	return nil
}

// Get returns an object's body. The error is ErrNotFound where there is none.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	body, object, err := b.Read(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var buf bytes.Buffer
	buf.Grow(int(object.Size) + bytes.MinRead)
	if _, err := buf.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("read s3://%s/%s%s: %w", b.name, b.prefix, key, err)
	}
	return buf.Bytes(), nil
}

// GetRange returns so many bytes of an object's body, or fewer where it ends before.
// The error is ErrNotFound where there is no object.
func (b *Bucket) GetRange(ctx context.Context, key string, from, length int64) ([]byte, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &b.name, Key: b.key(key), Range: aws.String(fmt.Sprintf("bytes=%d-%d", from, from+length-1)),
	}, func(o *s3.Options) {
		o.DisableLogOutputChecksumValidationSkipped = true // S3 has none of a part
	})
	if err != nil {
		return nil, fmt.Errorf("get a part of s3://%s/%s%s: %w", b.name, b.prefix, key, withheld(found(err)))
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, fmt.Errorf("read a part of s3://%s/%s%s: %w", b.name, b.prefix, key, err)
	}
	return body, nil
}

// Read opens an object for reading piece by piece; the caller closes it. The
// error is ErrNotFound where there is none, and ErrWithheld where it cannot be
// had.
func (b *Bucket) Read(ctx context.Context, key string) (io.ReadCloser, Object, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: b.key(key)})
	if err != nil {
		return nil, Object{}, fmt.Errorf("get s3://%s/%s%s: %w", b.name, b.prefix, key, withheld(found(err)))
	}
	return out.Body, Object{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag),
		Modified: aws.ToTime(out.LastModified), Meta: out.Metadata,
	}, nil
}

// Stat describes an object, with its metadata. The error is ErrNotFound where
// there is none.
func (b *Bucket) Stat(ctx context.Context, key string) (Object, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: b.key(key)})
	if err != nil {
		return Object{}, fmt.Errorf("stat s3://%s/%s%s: %w", b.name, b.prefix, key, found(err))
	}
	return Object{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag),
		Modified: aws.ToTime(out.LastModified), Meta: out.Metadata,
	}, nil
}

// Meta returns an object's metadata. The error is ErrNotFound where there is no
// object.
func (b *Bucket) Meta(ctx context.Context, key string) (map[string]string, error) {
	object, err := b.Stat(ctx, key)
	return object.Meta, err
}

// Delete removes an object. That there is none is no error.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if _, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: b.key(key)}); err != nil {
		return fmt.Errorf("delete s3://%s/%s%s: %w", b.name, b.prefix, key, err)
	}
	return nil
}

// List yields the objects whose keys begin with prefix, in the order of their
// keys, a page of 1,000 at a time. An error ends it.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: b.key(prefix)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Object{}, fmt.Errorf("list s3://%s/%s%s: %w", b.name, b.prefix, prefix, err))
				return
			}
			for _, o := range page.Contents {
				object := Object{
					Key: strings.TrimPrefix(aws.ToString(o.Key), b.prefix), Size: aws.ToInt64(o.Size),
					ETag: aws.ToString(o.ETag), Modified: aws.ToTime(o.LastModified),
				}
				if !yield(object, nil) {
					return
				}
			}
		}
	}
}

// Keys yields what List does, the keys alone.
func (b *Bucket) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for object, err := range b.List(ctx, prefix) {
			if !yield(object.Key, err) {
				return
			}
		}
	}
}

func (b *Bucket) key(key string) *string { return aws.String(b.prefix + key) }

// found turns S3's two ways to say that there is no object (HEAD has no content,
// and so no error code) into ErrNotFound. A missing bucket is another matter.
func found(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && (api.ErrorCode() == "NoSuchKey" || api.ErrorCode() == "NotFound") {
		return ErrNotFound
	}
	return err
}

// Refused reports whether S3 has answered that it does not do what it was asked,
// and would say so again: there is no such bucket, or it is not to be read.
func Refused(err error) bool {
	code := status(err)
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}

// withheld tells what S3 says about one object from an outage, and from
// permissions that are missing for all of them (API reference, 'Error
// responses').
func withheld(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode() {
	case "InvalidObjectState", "KMS.DisabledException", "KMS.InvalidKeyUsageException", "KMS.KMSInvalidStateException", "KMS.NotFoundException":
	case "AccessDenied":
		if !strings.Contains(api.ErrorMessage(), "kms:Decrypt") {
			return err
		}
	default:
		return err
	}
	return fmt.Errorf("%w: %s: %s", ErrWithheld, api.ErrorCode(), api.ErrorMessage())
}

// status returns the HTTP status of an error's answer, or 0.
func status(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}
