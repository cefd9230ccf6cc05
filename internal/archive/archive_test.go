package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/awshttp"
	"millrace/test/kit/faultproxy"
)

func TestPutReplaces(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	for _, body := range []string{"first", "", "a \x00\xff third", string(bytes.Repeat([]byte("large"), 1<<20))} {
		put(t, b, "a/ü b+c.json", body)
		want(t, b, "a/ü b+c.json", body)
	}
}

func TestGetRangeReadsAPart(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	put(t, b, "key", "0123456789")
	for want, part := range map[string][2]int64{"0": {0, 1}, "345": {3, 3}, "89": {8, 2}, "9": {9, 5}, "0123456789": {0, 10}} {
		if got, err := b.GetRange(t.Context(), "key", part[0], part[1]); err != nil || string(got) != want {
			t.Errorf("%d bytes from %d are %q, %v; want %q", part[1], part[0], got, err, want)
		}
	}
	if _, err := b.GetRange(t.Context(), "absent", 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of an object that is not there: %v", err)
	}
	if got, err := b.GetRange(t.Context(), "key", 10, 1); err == nil {
		t.Errorf("behind its end is %q", got)
	}
}

func TestPutNewNeverReplaces(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	meta := map[string]string{"last": "20", "count": "3"}
	if created, err := b.PutNew(t.Context(), "key", []byte("first"), meta); !created || err != nil {
		t.Fatalf("created %v, %v", created, err)
	}
	if created, err := b.PutNew(t.Context(), "key", []byte("second"), map[string]string{"last": "30"}); created || err != nil {
		t.Errorf("created again: %v, %v", created, err)
	}
	want(t, b, "key", "first")
	stat, err := b.Stat(t.Context(), "key")
	if err != nil || stat.Key != "key" || stat.Size != 5 || stat.ETag == "" || time.Since(stat.Modified).Abs() > time.Minute || !maps.Equal(stat.Meta, meta) {
		t.Errorf("described as %+v, %v", stat, err)
	}
	body, read, err := b.Read(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); err != nil || string(text) != "first" || read.Size != 5 || read.ETag != stat.ETag || !maps.Equal(read.Meta, meta) {
		t.Errorf("read %q of %+v, %v", text, read, err)
	}
}

func TestOneOfManyConcurrentWritersCreates(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	created := make([]bool, 20)
	var group errgroup.Group
	for n := range created {
		group.Go(func() (err error) {
			created[n], err = b.PutNew(t.Context(), "key", fmt.Append(nil, n), nil)
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
	want(t, b, "key", fmt.Sprint(winner))
}

// TestPutNewRetriesConflictingWrites: S3 answers 409 to one of two conditional writes
// that meet, before any of them has won.
func TestPutNewRetriesConflictingWrites(t *testing.T) {
	t.Parallel()
	b, proxy := faulty(t, newBucket(t))
	conflict := faultproxy.Rule{Name: "conflict", Times: 2, Fault: s3Error(http.StatusConflict, "ConditionalRequestConflict")}
	proxy.Set(conflict)
	if created, err := b.PutNew(t.Context(), "key", []byte("body"), nil); !created || err != nil {
		t.Errorf("created %v, %v", created, err)
	}
	want(t, b, "key", "body")
	if times, _ := proxy.Count("conflict"); times != 2 {
		t.Errorf("%d conflicts", times)
	}
}

// TestPutNewSurvivesLostAnswer: the second attempt finds what the first
// one wrote.
func TestPutNewSurvivesLostAnswer(t *testing.T) {
	t.Parallel()
	b, proxy := faulty(t, newBucket(t))
	proxy.Set(faultproxy.Rule{Name: "lost", Times: 1, Fault: faultproxy.Applied{}})
	if created, err := b.PutNew(t.Context(), "key", []byte("body"), nil); created || err != nil {
		t.Errorf("created %v, %v", created, err)
	}
	want(t, b, "key", "body")
}

func TestRefusedCallsAreErrors(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faultproxy.Fault{
		"forbidden":   s3Error(http.StatusForbidden, "AccessDenied"),
		"unavailable": s3Error(http.StatusServiceUnavailable, "SlowDown"),
		"no answer":   faultproxy.Reset{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := newBucket(t)
			b, proxy := faulty(t, direct)
			proxy.Set(faultproxy.Rule{Name: name, Fault: fault})
			var group sync.WaitGroup
			for call, try := range map[string]func() error{
				"put new": func() error {
					begun := time.Now()
					_, err := b.PutNew(t.Context(), "key", []byte("body"), nil)
					if took := time.Since(begun); took > 2*time.Minute {
						t.Errorf("a conditional write failed after %s", took)
					}
					return err
				},
				"put":    func() error { return b.Put(t.Context(), "key", []byte("body")) },
				"delete": func() error { return b.Delete(t.Context(), "key") },
				"get":    func() error { _, err := b.Get(t.Context(), "key"); return err },
				"stat":   func() error { _, err := b.Stat(t.Context(), "key"); return err },
			} {
				group.Go(func() {
					if err := try(); err == nil || errors.Is(err, archive.ErrNotFound) {
						t.Errorf("%s: error %v", call, err)
					}
				})
			}
			group.Wait()
			if keys := collect(t, direct, ""); len(keys) > 0 {
				t.Errorf("there is %q", keys)
			}
		})
	}
}

// TestWithheldObjectIsNoOutage: an object that must not be read is distinct from an outage.
func TestWithheldObjectIsNoOutage(t *testing.T) {
	t.Parallel()
	direct := newBucket(t)
	put(t, direct, "key", "body")
	b, proxy := faulty(t, direct)
	for _, c := range []struct {
		status        int
		code, message string
		withheld      bool
	}{
		{http.StatusForbidden, "InvalidObjectState", "The operation is not valid for the object's storage class", true},
		{http.StatusBadRequest, "KMS.DisabledException", "arn:aws:kms:eu-west-1:1:key/k is disabled.", true},
		{http.StatusForbidden, "AccessDenied", "User: u is not authorized to perform: kms:Decrypt on resource: k", true},
		{http.StatusForbidden, "AccessDenied", "User: u is not authorized to perform: s3:GetObject on resource: k", false},
		{http.StatusForbidden, "AccessDenied", "Access Denied", false},
		{http.StatusForbidden, "ExpiredToken", "The provided token has expired.", false},
		{http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.", false},
	} {
		proxy.Set(faultproxy.Rule{Name: c.code, Fault: s3Says(c.status, c.code, c.message)})
		_, _, err := b.Read(t.Context(), "key")
		if err == nil || errors.Is(err, archive.ErrWithheld) != c.withheld || !strings.Contains(err.Error(), c.code+": "+c.message) {
			t.Errorf("%s, %s: %v", c.code, c.message, err)
		}
	}
}

func TestTruncatedBodyIsError(t *testing.T) {
	t.Parallel()
	direct := newBucket(t)
	put(t, direct, "key", string(bytes.Repeat([]byte("x"), 100_000)))
	b, proxy := faulty(t, direct)
	proxy.Set(faultproxy.Rule{Name: "cut", Fault: faultproxy.Truncate{Keep: 0.5}})
	if body, err := b.Get(t.Context(), "key"); err == nil {
		t.Errorf("%d bytes without an error", len(body))
	}
	if times, _ := proxy.Count("cut"); times == 0 {
		t.Error("nothing was cut off")
	}
}

func TestMissingObjectIsErrNotExist(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	put(t, b, "key", "body")
	for range 2 { // the second time there is nothing to delete
		if err := b.Delete(t.Context(), "key"); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Get(t.Context(), "key"); !errors.Is(err, archive.ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v", err)
	}
	if _, err := b.Stat(t.Context(), "key"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("stat: %v", err)
	}
	if keys := collect(t, b, ""); keys != nil {
		t.Errorf("listed %q", keys)
	}

	// A wrong name must not look like an empty archive.
	missing := archive.Open(newClient(localtest.AWS(t)), b.Name()+"-2")
	if _, err := missing.Get(t.Context(), "key"); err == nil || errors.Is(err, archive.ErrNotFound) {
		t.Errorf("get from a bucket that is not there: %v", err)
	}
	listed := 0
	for object, err := range missing.List(t.Context(), "") {
		if listed++; err == nil {
			t.Errorf("listed %+v in a bucket that is not there", object)
		}
	}
	if listed != 1 {
		t.Errorf("%d errors", listed)
	}
}

func TestPrefixesOfBucketAreSeparate(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	ledger, nested := b.Under("ledger/"), b.Under("ledger/").Under("open/")
	put(t, ledger, "x", "1")
	put(t, nested, "y", "2")
	put(t, b, "ledger-2/z", "3")
	want(t, b, "ledger/open/y", "2")
	want(t, ledger, "open/y", "2")
	if got := collect(t, ledger, ""); !slices.Equal(got, []string{"open/y", "x"}) {
		t.Errorf("ledger has %q", got)
	}
	if got := collect(t, ledger, "open/"); !slices.Equal(got, []string{"open/y"}) {
		t.Errorf("ledger has %q", got)
	}
	if got := collect(t, nested, ""); !slices.Equal(got, []string{"y"}) {
		t.Errorf("ledger/open has %q", got)
	}
	if err := nested.Delete(t.Context(), "y"); err != nil {
		t.Error(err)
	}
	if got := collect(t, b, ""); !slices.Equal(got, []string{"ledger-2/z", "ledger/x"}) {
		t.Errorf("the bucket has %q", got)
	}
	if stat, err := ledger.Stat(t.Context(), "x"); err != nil || stat.Key != "x" {
		t.Errorf("described as %+v, %v", stat, err)
	}
}

// smallPages makes S3 list ten objects at a time, instead of a thousand.
type smallPages struct{ aws.HTTPClient }

func (p smallPages) Do(r *http.Request) (*http.Response, error) {
	if query := r.URL.Query(); query.Get("list-type") != "" {
		query.Set("max-keys", "10")
		r.URL.RawQuery = query.Encode()
	}
	return p.HTTPClient.Do(r)
}

func TestListReadsAllPagesInOrder(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	const count = 25
	for _, n := range rand.Perm(count) {
		put(t, b, fmt.Sprintf("p/%05d", n), "body")
	}
	cfg := localtest.AWS(t)
	_, proxy := faulty(t, b)
	cfg.BaseEndpoint, cfg.HTTPClient = aws.String(proxy.URL()), smallPages{awshttp.Wrap(nil)}
	paged := archive.Open(s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), b.Name()).Under("p/")

	next := 0
	for object, err := range paged.List(t.Context(), "0") {
		if err != nil {
			t.Fatal(err)
		}
		if object.Key != fmt.Sprintf("%05d", next) || object.Size != 4 || object.ETag == "" || object.Modified.IsZero() {
			t.Fatalf("object %d is %+v", next, object)
		}
		next++
	}
	if next != count || proxy.Calls() != 3 {
		t.Errorf("%d objects in %d pages, want %d", next, proxy.Calls(), count)
	}

	seen := 0
	var last error
	for _, err := range paged.Keys(t.Context(), "") {
		if last = err; err == nil {
			seen++
		}
		if seen == 1 { // the first page is there
			proxy.Set(faultproxy.Rule{Name: "away", Fault: s3Error(http.StatusForbidden, "AccessDenied")})
		}
	}
	if seen != 10 || last == nil {
		t.Errorf("%d objects before error %v", seen, last)
	}

	proxy.Set()
	calls := proxy.Calls()
	for key, err := range paged.Keys(t.Context(), "") {
		if key != "00000" || err != nil {
			t.Errorf("the first key is %s, %v", key, err)
		}
		break
	}
	if proxy.Calls() != calls+1 {
		t.Errorf("%d calls for one key", proxy.Calls()-calls)
	}
}
