package archive

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/deploy/local/localtest"
)

func pathStyle(o *s3.Options) { o.UsePathStyle = true }

func TestCreateIsIdempotent(t *testing.T) {
	t.Parallel()
	ctx, client, name := t.Context(), s3.NewFromConfig(localtest.AWS(t), pathStyle), localtest.Name(t, "bucket")
	t.Cleanup(func() {
		_, _ = client.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &name, Key: aws.String("key")})
		_, _ = client.DeleteBucket(context.Background(), &s3.DeleteBucketInput{Bucket: &name})
	})
	for i, want := range []bool{true, false, false} {
		created, err := Create(ctx, client, name)
		if err != nil || created != want {
			t.Fatalf("call %d: created is %v, %v", i, created, err)
		}
		if i > 0 {
			continue
		}
		if err := Open(client, name).Put(ctx, "key", []byte("body")); err != nil {
			t.Fatal(err)
		}
	}
	if body, err := Open(client, name).Get(ctx, "key"); err != nil || string(body) != "body" {
		t.Errorf("the object is %q, %v", body, err)
	}
}

func TestCreateLeavesForeignBucketsAlone(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{
		"a bucket of another account": http.StatusForbidden,
		"what is in another region":   http.StatusMovedPermanently,
		"what it knows nothing about": http.StatusBadRequest,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodHead {
					t.Errorf("a request to %s %s", r.Method, r.URL)
				}
				w.WriteHeader(status)
			}))
			t.Cleanup(server.Close)
			client := s3.NewFromConfig(aws.Config{
				BaseEndpoint: &server.URL, Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
			}, pathStyle)
			if created, err := Create(t.Context(), client, "bucket"); err == nil || created {
				t.Errorf("created is %v, %v", created, err)
			}
		})
	}
}
