package backups

import (
	"bufio"
	"compress/gzip"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/sdk/testsuite"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/awshttp"
	"millrace/internal/backup"
	"millrace/internal/outcome"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
	"millrace/test/kit/made"
	"millrace/test/kit/shard"
)

// vault is a bucket of S3, which a test can reach around its faults, and the
// shard that is backed up there.
type vault struct {
	*shard.Shard
	direct, faulty *archive.Bucket
	ends           *archive.Bucket
	proxy          *faultproxy.Proxy
	mu             sync.Mutex
	losses         []telemetry.Range
	loss           *stream.Loss // of the next page
}

// newVault has records that arrive a second apart, from shortly before an hour
// ends.
func newVault(t *testing.T, count int) *vault {
	t.Helper()
	cfg, name := localtest.AWS(t), localtest.Name(t, "backup")
	cfg.HTTPClient = awshttp.Wrap(nil)
	open := func(endpoint string) *s3.Client {
		cfg := cfg
		cfg.BaseEndpoint = &endpoint
		return s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	}
	client := open(*cfg.BaseEndpoint)
	if _, err := archive.Create(t.Context(), client, name); err != nil {
		t.Fatal(err)
	}
	proxy, err := faultproxy.Start(t.Context(), *cfg.BaseEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	v := &vault{
		Shard: shard.New(7), proxy: proxy, direct: archive.Open(client, name).Under(backup.Prefix),
		faulty: archive.Open(open(proxy.URL()), name).Under(backup.Prefix), ends: archive.Open(client, name).Under(backup.EndsPrefix),
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, part := range []*archive.Bucket{v.direct, v.ends} {
			for key, err := range part.Keys(ctx, "") {
				if err == nil {
					_ = part.Delete(ctx, key)
				}
			}
		}
		_, _ = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
	})
	from := time.Date(2026, 11, 23, 13, 50, 0, 0, time.UTC)
	for n := range count {
		r := stream.Record{Sequence: made.Sequence(n), Arrived: from.Add(time.Duration(n) * time.Second), Data: made.Record(n)}
		if n%50 == 49 {
			r.Data = []byte("foreign\n\x00")
		}
		v.Records = append(v.Records, r)
	}
	return v
}

func (v *vault) archivist(limits Limits) *Archivist {
	limits.Poll = 1
	return NewArchivist(Archivist{
		Stream: telemetry.StreamID{Name: "s", ARN: "arn:s", Created: time.Unix(1000, 0).UTC()}, Source: v, Store: v.faulty, Ends: v.ends, Losses: v, Worker: "test", Limits: limits,
	})
}

func (v *vault) WriteLoss(_ context.Context, r telemetry.Range, _ outcome.Error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.losses = append(v.losses, r)
	return nil
}

// Read lends pages whose memory is used again: a reader that keeps it will see.
func (v *vault) Read(shard string, from telemetry.Checkpoint) source.Reader {
	return &lender{Reader: v.Shard.Read(shard, from), vault: v}
}

type lender struct {
	source.Reader
	vault        *vault
	last, before []stream.Record // pages
}

func (l *lender) Next(ctx context.Context) (stream.Page, error) {
	page, err := l.Reader.Next(ctx)
	if err != nil { // nothing is handed on, and so nothing is done with
		return page, err
	}
	for _, r := range l.before { // it was done with before the last one was taken
		clear(r.Data)
	}
	page.Records = slices.Clone(page.Records)
	for i, r := range page.Records {
		page.Records[i].Data = slices.Clone(r.Data)
	}
	l.last, l.before = page.Records, l.last
	l.vault.mu.Lock()
	defer l.vault.mu.Unlock()
	if len(page.Records) > 0 {
		page.Loss, l.vault.loss = l.vault.loss, nil
	}
	return page, nil
}

// copyShard runs one call outside of any workflow.
func copyShard(t *testing.T, a *Archivist, in CopyInput, prepare ...func(*testsuite.TestActivityEnvironment)) CopyResult {
	t.Helper()
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.SetTestTimeout(2 * time.Minute)
	env.RegisterActivity(a.CopyShard)
	for _, f := range prepare {
		f(env)
	}
	in.Stream, in.Shard = a.Stream, "shardId-000000000000"
	encoded, err := env.ExecuteActivity(a.CopyShard, in)
	var result CopyResult
	if err == nil {
		err = encoded.Get(&result)
	}
	if err != nil {
		t.Error(err)
	}
	return result
}

// holds asserts that the bucket has the first so many records, each once and
// intact, and returns how many objects they are in.
func (v *vault) holds(t *testing.T, want int) (objects int) {
	t.Helper()
	var got []backup.Record
	for key, err := range v.direct.Keys(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		body, object, err := v.direct.Read(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := gzip.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		objects++
		name, ours := backup.ParseKey(key)
		meta, err := backup.ParseMeta(object.Meta)
		count := 0
		for scan := bufio.NewScanner(lines); scan.Scan(); count++ {
			_, r, err := backup.ParseLine(scan.Bytes())
			if err != nil || !r.Arrived.Truncate(time.Hour).Equal(name.Hour) {
				t.Fatalf("%s: %v", key, err)
			}
			got = append(got, r)
		}
		_ = body.Close()
		if err != nil || !ours || meta.Count != count || meta.Last != got[len(got)-1].Sequence {
			t.Fatalf("%s holds %d records and says %+v, %v", key, count, meta, err)
		}
	}
	slices.SortFunc(got, func(a, b backup.Record) int { return telemetry.ComparePositions(a.Sequence, b.Sequence) })
	if len(got) != want {
		t.Fatalf("%d records are in the backup, not %d", len(got), want)
	}
	for n, r := range got {
		if r.Sequence != made.Sequence(n) || string(r.Data) != string(v.Records[n].Data) {
			t.Fatalf("record %d is %s %q", n, r.Sequence, r.Data)
		}
	}
	return objects
}

// position is how many records a checkpoint is behind.
func (v *vault) position(c telemetry.Checkpoint) int {
	return slices.IndexFunc(v.Records, func(r stream.Record) bool { return r.Sequence == c.Sequence }) + 1
}
