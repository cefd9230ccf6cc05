package audit_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/load"
	"millrace/test/kit/audit"
)

// TestBackedUpCountsRecordsOnce: what came twice counts once, and another tenant's not at all.
func TestBackedUpCountsRecordsOnce(t *testing.T) {
	t.Parallel()
	client := s3.NewFromConfig(localtest.AWS(t), func(o *s3.Options) { o.UsePathStyle = true })
	name := localtest.Name(t, "")
	if _, err := archive.Create(t.Context(), client, name); err != nil {
		t.Fatal(err)
	}
	source := &load.Source{Run: name, Start: time.Now(), Interval: time.Millisecond}
	line := func(tenant string, n uint64) string {
		record := strings.Replace(string(source.Append(nil, n)), `"timestamp"`, `"@timestamp"`, 1)
		return fmt.Sprintf("{\"backup_shard\":\"s\",\"tenant\":%q,%s\n", tenant, record[1:])
	}
	keys := []string{"backup/dt=2026-11-23/hour=13/a.json.gz", "backup/dt=2026-11-23/hour=14/b.json.gz"}
	for i, text := range []string{
		line("t", 0) + line("t", 1) + line("t", 0) + line("u", 2) + `{"tenant":"t","type":"log","id":"another"}` + "\n",
		line("t", 3) + line("t", 1) + strings.Replace(line("t", 4), "trace_id", "trace", 1) + `{"tenant":"t","type":"log","id":"another"}` + "\n",
	} {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write([]byte(text)); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: &keys[i], Body: bytes.NewReader(packed.Bytes())}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, key := range keys {
			_, _ = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &name, Key: aws.String(key)})
		}
		_, _ = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
	})
	var accepted load.Set
	for _, n := range []uint64{0, 1, 2, 4} { // 2 is another tenant's there, and 3 was not answered
		accepted.Add(n)
	}
	got, err := audit.BackedUp(t.Context(), audit.Stores{S3: client, Bucket: name, Tenant: "t"}, audit.Sent{Source: source, Accepted: &accepted})
	if want := (audit.Backup{Objects: 2, Records: 8, Accepted: 3, Altered: 1, Others: 1}); err != nil || got != want {
		t.Errorf("it is %+v, %v, and should be %+v", got, err, want)
	}
}
