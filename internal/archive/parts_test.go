package archive_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/test/kit/faultproxy"
)

// large is a body that is uploaded in three parts.
func large(seed uint64) []byte {
	body := make([]byte, 20<<20)
	random := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = random.Read(body) // never fails
	return body
}

// TestLargeObjectsAreUploadedInParts: whole or not at all, never in place of
// another, and with nothing left behind.
func TestLargeObjectsAreUploadedInParts(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	bodies := [][]byte{large(1), large(2), large(3)}
	created := make([]bool, len(bodies))
	meta := map[string]string{"last": "20"}
	var group errgroup.Group
	for n := range bodies {
		group.Go(func() (err error) {
			created[n], err = b.PutNew(t.Context(), "key", bodies[n], meta)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	winner := slices.Index(created, true)
	if winner < 0 || slices.Index(created[winner+1:], true) >= 0 {
		t.Fatalf("created: %v", created)
	}
	if got, err := b.Get(t.Context(), "key"); err != nil || !bytes.Equal(got, bodies[winner]) {
		t.Errorf("%d bytes that are another's, or %v", len(got), err)
	}
	if got, err := b.Meta(t.Context(), "key"); err != nil || !maps.Equal(got, meta) {
		t.Errorf("its metadata are %v, %v", got, err)
	}
	leftBehind(t, b, 0)
}

func leftBehind(t *testing.T, b *archive.Bucket, want int) {
	t.Helper()
	uploads, err := newClient(localtest.AWS(t)).ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(b.Name())})
	if err != nil || len(uploads.Uploads) != want {
		t.Errorf("%d uploads are left behind, %v", len(uploads.Uploads), err)
	}
}

func TestMultipartUploadsSurviveFaults(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]faultproxy.Rule{
		"refused parts":      {Times: 2, AtLeast: 1 << 20, Fault: s3Error(http.StatusServiceUnavailable, "SlowDown")},
		"lost answers":       {Times: 2, AtLeast: 1 << 20, Fault: faultproxy.Applied{}},
		"lost end":           {Times: 2, Method: http.MethodPost, AtLeast: 1, Fault: faultproxy.Applied{}},
		"meets other writes": {Times: 2, Method: http.MethodPost, AtLeast: 1, Fault: s3Error(http.StatusConflict, "ConditionalRequestConflict")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := newBucket(t)
			b, proxy := faulty(t, direct)
			rule.Name = "fault"
			proxy.Set(rule)
			body := large(4)
			if _, err := b.PutNew(t.Context(), "key", body, nil); err != nil {
				t.Fatal(err)
			}
			if got, err := direct.Get(t.Context(), "key"); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if times, _ := proxy.Count("fault"); times != 2 {
				t.Errorf("%d faults", times)
			}
		})
	}
}

func TestFailedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	direct := newBucket(t)
	b, proxy := faulty(t, direct)
	proxy.Set(faultproxy.Rule{Name: "refused", AtLeast: 1 << 20, Fault: s3Error(http.StatusForbidden, "AccessDenied")})
	if created, err := b.PutNew(t.Context(), "key", large(5), nil); created || err == nil {
		t.Errorf("created %v, %v", created, err)
	}
	if times, _ := proxy.Count("refused"); times == 0 {
		t.Error("no part was refused")
	}
	if keys := collect(t, direct, ""); len(keys) > 0 {
		t.Errorf("there is %q", keys)
	}
	leftBehind(t, direct, 0)
}

func TestEncryptionAndStorageClass(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	client := newClient(localtest.AWS(t))
	for name, body := range map[string][]byte{"small": []byte("body"), "large": large(6)} {
		w := b.Under("backup/").Writing(archive.Writing{Encryption: "aws:kms", KMSKey: "alias/ours", StorageClass: "STANDARD_IA"})
		if created, err := w.PutNew(t.Context(), name, body, nil); !created || err != nil {
			t.Fatalf("%s: created %v, %v", name, created, err)
		}
		got, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(b.Name()), Key: aws.String("backup/" + name)})
		if err != nil || got.ServerSideEncryption != "aws:kms" || aws.ToString(got.SSEKMSKeyId) == "" || got.StorageClass != "STANDARD_IA" {
			t.Errorf("%s is kept as %+v, %v", name, got, err)
		}
	}
}
