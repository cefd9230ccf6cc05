package recovery

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"millrace/activities/recovery"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/workflows"
)

// csvOf are the rows of an S3 Inventory in CSV, which has no header.
func csvOf(t *testing.T, bucket string, objects []archive.Object) (schema string, file []byte) {
	var text bytes.Buffer
	packed := gzip.NewWriter(&text)
	rows := csv.NewWriter(packed)
	for _, o := range objects {
		if err := rows.Write([]string{bucket, url.QueryEscape(o.Key), strconv.FormatInt(o.Size, 10), o.Modified.UTC().Format(time.RFC3339)}); err != nil {
			t.Fatal(err)
		}
	}
	rows.Flush()
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	return "Bucket, Key, Size, LastModifiedDate", text.Bytes()
}

// parquetOf are the rows of an S3 Inventory in Parquet.
func parquetOf(t *testing.T, bucket string, objects []archive.Object) (schema string, file []byte) {
	type row struct {
		Bucket   string    `parquet:"bucket"`
		Key      string    `parquet:"key"`
		Size     *int64    `parquet:"size,optional"`
		Modified time.Time `parquet:"last_modified_date,timestamp(millisecond)"`
	}
	var text bytes.Buffer
	rows := parquet.NewGenericWriter[row](&text)
	for _, o := range objects {
		if _, err := rows.Write([]row{{bucket, o.Key, &o.Size, o.Modified}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	return "message s3.inventory {…}", text.Bytes()
}

// TestReplayUsesInventory: what it lists of old days comes back, and these are
// not listed again; what is younger than it is listed.
func TestReplayUsesInventory(t *testing.T) {
	t.Parallel()
	const known, unknown, young = 12, 3, 4
	p := newPipeline(t)
	now := time.Now().UTC().Truncate(time.Hour)
	old, made := now.Add(-10*24*time.Hour), now.Add(-5*24*time.Hour)
	store := p.Bucket.Under(backup.Prefix)
	for n := range known {
		p.must(p.writeObject(store, 1, n, old))
	}
	listed := p.objects()
	// These are in the bucket, and not in the inventory: a lifecycle rule or an
	// operator has put them back since.
	for n := range unknown {
		p.must(p.writeObject(store, 1, known+n, old))
	}
	for n := range young {
		p.must(p.writeObject(store, 1, known+unknown+n, now.Add(-time.Hour)))
	}
	for format, write := range map[string]func(*testing.T, string, []archive.Object) (string, []byte){"CSV": csvOf, "Parquet": parquetOf} {
		schema, file := write(t, p.Backups.Name(), listed)
		sum := md5.Sum(file)
		p.must(p.Bucket.Put(t.Context(), "inventory/"+format, file))
		p.must(p.Bucket.Put(t.Context(), "inventory/"+format+".json", fmt.Appendf(nil, `{"sourceBucket":%q,"destinationBucket":"arn:aws:s3:::inventories",
			"version":"2016-11-30","creationTimestamp":"%d","fileFormat":%q,"fileSchema":%q,"files":[{"key":%q,"size":%d,"MD5checksum":%q}]}`,
			p.Backups.Name(), made.UnixMilli(), format, schema, "inventory/"+format, len(file), hex.EncodeToString(sum[:]))))
		in := workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{
			From: old, To: now, Into: strings.ToLower(format), Inventory: "inventory/" + format + ".json",
		}}
		run := p.replay(in.Into, in)
		result := p.result(run)
		if c := result.Backfill; c.Objects != known+young || c.Indexed != (known+young)*recordsEach {
			t.Errorf("%s: the result is %+v", format, result)
		}
		if got := len(p.ids("-" + in.Into)); got != (known+young)*recordsEach {
			t.Errorf("%s: %d documents", format, got)
		}
	}
}
