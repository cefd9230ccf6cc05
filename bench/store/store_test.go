package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/bench/store"
	"millrace/internal/archive"
)

// open returns a bucket, by the real client, and the server behind it.
func open(t *testing.T) (*archive.Bucket, *store.Server) {
	t.Helper()
	server := store.New()
	return archive.Open(client(t, server), "b"), server
}

func client(t *testing.T, handler http.Handler) *s3.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return s3.New(s3.Options{
		BaseEndpoint: &server.URL, Region: "eu-west-1", UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

func TestStoreReturnsObjectsUnchanged(t *testing.T) {
	t.Parallel()
	bucket, server := open(t)
	meta := map[string]string{"count": "7", "last": "20"}
	for key, size := range map[string]int{"small": 10, "empty": 0, "in parts": 20 << 20} {
		body := bytes.Repeat([]byte("0123456789"), size/10)
		if created, err := bucket.PutNew(t.Context(), key, body, meta); !created || err != nil {
			t.Fatalf("%s: created %v, %v", key, created, err)
		}
		if created, err := bucket.PutNew(t.Context(), key, []byte("other"), nil); created || err != nil {
			t.Errorf("%s: created again: %v, %v", key, created, err)
		}
		if got, err := bucket.Get(t.Context(), key); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: read %d bytes of %d, %v", key, len(got), len(body), err)
		}
		stat, err := bucket.Stat(t.Context(), key)
		if err != nil || stat.Size != int64(len(body)) || !maps.Equal(stat.Meta, meta) || stat.ETag == "" || stat.Modified.IsZero() {
			t.Errorf("%s is described as %+v, %v", key, stat, err)
		}
	}
	if err := bucket.Put(t.Context(), "small", []byte("new")); err != nil {
		t.Error(err)
	}
	if got, err := bucket.Get(t.Context(), "small"); err != nil || string(got) != "new" {
		t.Errorf("it was replaced by %q, %v", got, err)
	}
	if err := bucket.Delete(t.Context(), "small"); err != nil {
		t.Error(err)
	}
	if _, err := bucket.Get(t.Context(), "small"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("it was deleted: %v", err)
	}
	if _, err := bucket.Stat(t.Context(), "small"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("it was deleted: %v", err)
	}
	reads, writes, records := 0, 0, 0
	for _, call := range server.Calls("b") {
		if call.Read {
			reads++
			continue
		}
		writes++
		records += call.Records
	}
	if reads != 4 || writes != 4 || records != 21 {
		t.Errorf("%d reads and %d writes of %d records are noted", reads, writes, records)
	}
}

func TestStoreListsInOrder(t *testing.T) {
	t.Parallel()
	bucket, _ := open(t)
	const objects = 1203 // two pages
	for n := range objects {
		if err := bucket.Put(t.Context(), fmt.Sprintf("a/%06d <&>", n*7%objects), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := bucket.Put(t.Context(), "b", nil); err != nil {
		t.Fatal(err)
	}
	n := 0
	for object, err := range bucket.List(t.Context(), "a/") {
		if want := fmt.Sprintf("a/%06d <&>", n); err != nil || object.Key != want || object.Size != 1 {
			t.Fatalf("object %d is %+v, %v", n, object, err)
		}
		n++
	}
	if n != objects {
		t.Errorf("%d of %d are listed", n, objects)
	}
}

func TestAbortedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	bucket, server := open(t)
	client, name, key := client(t, server), "b", "key"
	upload, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &name, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: &name, Key: &key, UploadId: upload.UploadId}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: &name, Key: &key, UploadId: upload.UploadId}); err == nil {
		t.Error("it was completed")
	}
	if _, err := bucket.Stat(t.Context(), key); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("there is an object: %v", err)
	}
}
