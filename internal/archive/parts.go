package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"
)

const (
	// partsFrom is the size from which an object is uploaded in parts, of
	// partBytes each: what fails is then sent again in pieces, and not whole. S3
	// takes parts of 5 MiB and more (S3 user guide, 'Multipart upload limits').
	partsFrom, partBytes = 16 << 20, 8 << 20
	// partsAtOnce bounds the parts of one object that are under way.
	partsAtOnce = 4
	// abortWithin bounds the clean-up behind an upload that failed. A bucket's
	// rule AbortIncompleteMultipartUpload sees to the rest.
	abortWithin = 10 * time.Second
)

// Writing says how S3 keeps what a Bucket writes. The zero value leaves it to
// the bucket's own defaults.
type Writing struct {
	Encryption   string // AES256, aws:kms or aws:kms:dsse
	KMSKey       string // id or ARN, for the latter two
	StorageClass string // STANDARD_IA, …
}

// Writing returns the same part of the bucket, to be written like that.
func (b *Bucket) Writing(w Writing) *Bucket {
	other := *b
	other.writing = w
	return &other
}

func (w Writing) key() *string {
	if w.KMSKey == "" {
		return nil
	}
	return &w.KMSKey
}

// putParts is PutNew for a large body. Where another conditional write was
// under way, S3 wants the whole upload to be made again (API reference of
// CompleteMultipartUpload).
func (b *Bucket) putParts(ctx context.Context, key string, body []byte, meta map[string]string) (created bool, err error) {
	for attempt := 1; ; attempt++ {
		created, err = b.uploadOnce(ctx, key, body, meta)
		if status(err) != http.StatusConflict || attempt == conditionalAttempts {
			return created, err
		}
		select {
		case <-time.After(time.Duration(attempt) * conditionalBackoff / conditionalAttempts):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

func (b *Bucket) uploadOnce(ctx context.Context, key string, body []byte, meta map[string]string) (created bool, err error) {
	upload, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &b.name, Key: b.key(key), Metadata: meta, SSEKMSKeyId: b.writing.key(),
		ServerSideEncryption: types.ServerSideEncryption(b.writing.Encryption), StorageClass: types.StorageClass(b.writing.StorageClass),
	})
	if err != nil {
		return false, fmt.Errorf("begin an upload: %w", err)
	}
	defer func() {
		if !created {
			b.abort(ctx, key, upload.UploadId)
		}
	}()
	parts, err := b.uploadParts(ctx, key, upload.UploadId, body)
	if err != nil {
		return false, err
	}
	_, err = b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.name, Key: b.key(key), UploadId: upload.UploadId, IfNoneMatch: aws.String("*"),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	var api smithy.APIError
	switch {
	case err == nil:
		return true, nil
	case status(err) == http.StatusPreconditionFailed:
		return false, nil
	case errors.As(err, &api) && api.ErrorCode() == "NoSuchUpload":
		// An earlier attempt of this call may have completed it, and its answer been lost.
		if _, there := b.Stat(ctx, key); there == nil {
			return false, nil
		}
	}
	return false, fmt.Errorf("complete an upload: %w", err)
}

func (b *Bucket) uploadParts(ctx context.Context, key string, upload *string, body []byte) ([]types.CompletedPart, error) {
	parts := make([]types.CompletedPart, (len(body)+partBytes-1)/partBytes)
	uploading, ctx := errgroup.WithContext(ctx)
	uploading.SetLimit(partsAtOnce)
	for i := range parts {
		part := body[i*partBytes : min((i+1)*partBytes, len(body))]
		uploading.Go(func() error {
			number := aws.Int32(int32(i + 1)) //nolint:gosec // an object of 2^31 parts does not fit into memory
			out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &b.name, Key: b.key(key), UploadId: upload, PartNumber: number, Body: bytes.NewReader(part),
			})
			if err != nil {
				return fmt.Errorf("upload part %d of %d: %w", i+1, len(parts), err)
			}
			parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: number, ChecksumCRC32: out.ChecksumCRC32}
			return nil
		})
	}
	return parts, uploading.Wait()
}

// abort removes the parts of an upload that failed, also when ctx has
// ended: they would be paid for.
func (b *Bucket) abort(ctx context.Context, key string, upload *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWithin)
	defer cancel()
	// What it leaves behind costs little, and a rule of the bucket removes it.
	_, _ = b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: b.key(key), UploadId: upload})
}
