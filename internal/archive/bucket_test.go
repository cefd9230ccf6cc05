package archive_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/awshttp"
	"millrace/test/kit/faultproxy"
)

func newClient(cfg aws.Config) *s3.Client {
	cfg.HTTPClient = awshttp.Wrap(nil)
	return s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
}

// newBucket returns a bucket of its own.
func newBucket(t *testing.T) *archive.Bucket {
	t.Helper()
	cfg := localtest.AWS(t)
	client, name := newClient(cfg), localtest.Name(t, "")
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(cfg.Region)},
	}); err != nil {
		t.Fatal(err)
	}
	bucket := archive.Open(client, name)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for key, err := range bucket.Keys(ctx, "") {
			if err == nil {
				_ = bucket.Delete(ctx, key)
			}
		}
		_, _ = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
	})
	return bucket
}

// faulty returns the same bucket behind a proxy.
func faulty(t *testing.T, bucket *archive.Bucket) (*archive.Bucket, *faultproxy.Proxy) {
	t.Helper()
	cfg := localtest.AWS(t)
	proxy, err := faultproxy.Start(t.Context(), *cfg.BaseEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	cfg.BaseEndpoint = aws.String(proxy.URL())
	return archive.Open(newClient(cfg), bucket.Name()), proxy
}

// s3Error is how S3 refuses a call.
func s3Error(status int, code string) faultproxy.Answer {
	return s3Says(status, code, "by the fault proxy")
}

func s3Says(status int, code, message string) faultproxy.Answer {
	return faultproxy.Answer{
		Status: status, Header: http.Header{"Content-Type": {"application/xml"}},
		Body: "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>",
	}
}

func put(t *testing.T, b *archive.Bucket, key, body string) {
	t.Helper()
	if err := b.Put(t.Context(), key, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, b *archive.Bucket, key, body string) {
	t.Helper()
	if got, err := b.Get(t.Context(), key); err != nil || string(got) != body {
		t.Errorf("%s holds %.50q, want %.50q, error %v", key, got, body, err)
	}
}

func collect(t *testing.T, b *archive.Bucket, prefix string) (keys []string) {
	t.Helper()
	for key, err := range b.Keys(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}
