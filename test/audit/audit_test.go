package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"millrace/deploy/local/localtest"
	"millrace/internal/load"
	"millrace/test/audit"
)

const ledgerKey = "ledger/open/stream/shard/1-2.json"

// Every kind of end that a record can have, each of them found and none taken
// for another.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	cfg := localtest.AWS(t)
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	name := localtest.Name(t, "")
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(cfg.Region)},
	}); err != nil {
		t.Fatal(err)
	}
	index := "telemetry-" + name // others' may go while they are read
	stores := audit.Stores{Elasticsearch: localtest.Elasticsearch(t), Index: index, Tenant: name, S3: client, Bucket: name}
	// The pipeline's templates may be installed, in which the duration of a bad
	// record is no number and refused: here it must be indexed.
	do(t, http.MethodPut, stores.Elasticsearch+"/"+index, `{"settings":{"number_of_shards":1,"number_of_replicas":0},
		"mappings":{"dynamic":false,"properties":{"tenant":{"type":"keyword"},"duration":{"type":"keyword"}}}}`)
	t.Cleanup(func() {
		do(t, http.MethodDelete, stores.Elasticsearch+"/"+index, "")
		_, _ = client.DeleteObject(context.WithoutCancel(t.Context()), &s3.DeleteObjectInput{Bucket: &name, Key: aws.String(ledgerKey)})
		_, _ = client.DeleteBucket(context.WithoutCancel(t.Context()), &s3.DeleteBucketInput{Bucket: &name})
	})

	source := &load.Source{Run: name, Start: time.Now(), Interval: time.Millisecond, BadShare: 0.1}
	var good, bad []uint64
	for n := uint64(0); len(good) < 20 || len(bad) < 2; n++ {
		if source.Bad(n) {
			bad = append(bad, n)
		} else {
			good = append(good, n)
		}
	}
	received := time.Now().UTC().Truncate(time.Millisecond)
	document := func(n uint64) map[string]any {
		var d map[string]any
		if err := json.Unmarshal(source.Append(nil, n), &d); err != nil {
			t.Fatal(err)
		}
		d["@timestamp"], d["tenant"] = d["timestamp"], name
		delete(d, "timestamp")
		d["received_at"], d["indexed_at"] = received, received.Add(100*time.Millisecond)
		return d
	}
	var bulk bytes.Buffer
	put := func(d map[string]any) {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&bulk, "{\"create\":{\"_index\":%q}}\n%s\n", index, text)
	}
	entry := func(numbers ...uint64) {
		var records []map[string]any
		for _, n := range numbers {
			d := document(n)
			text, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, map[string]any{"id": d["id"], "type": d["type"], "tenant": name, "data": text})
		}
		text, err := json.Marshal(map[string]any{"kind": "bulk", "records": records})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &name, Key: aws.String(ledgerKey), Body: bytes.NewReader(text),
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	var accepted load.Set
	for _, n := range good[:10] { // indexed
		accepted.Add(n)
		put(document(n))
	}
	put(document(good[0])) // a second document
	altered := document(good[10])
	altered["resource"] = map[string]any{}
	put(altered)
	accepted.Add(good[10])
	put(document(good[11])) // indexed, though no answer had come
	accepted.Add(good[12])  // lost
	accepted.Add(good[13])  // good, but dead-lettered
	accepted.Add(bad[0])    // dead-lettered
	entry(good[13], bad[0], good[1] /* indexed wins */)
	accepted.Add(bad[1]) // bad, but indexed
	put(document(bad[1]))
	for range 2 { // an agent's, twice
		put(map[string]any{"id": "x", "type": "log", "tenant": name, "received_at": received, "indexed_at": received})
	}
	var outcome struct {
		Errors bool
		Items  json.RawMessage
	}
	if err := json.Unmarshal(do(t, http.MethodPost, stores.Elasticsearch+"/_bulk?filter_path=errors,items.*.error", bulk.String()), &outcome); err != nil || outcome.Errors {
		t.Fatalf("put documents: %v %s", err, outcome.Items)
	}

	report, err := audit.Run(t.Context(), stores, audit.Sent{Source: source, Accepted: &accepted})
	if err != nil {
		t.Fatal(err)
	}
	got := report
	got.Delay, got.Findings = nil, nil
	want := audit.Report{
		Accepted: 15, Indexed: 12, DeadLettered: 2, Lost: 1, Duplicated: 2, Altered: 1, Misjudged: 2, Unanswered: 1, Bad: 2, Others: 1,
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("the report is\n%+v, want\n%+v\n%s", got, want, strings.Join(report.Findings, "\n"))
	}
	if len(report.Findings) != 6 {
		t.Errorf("findings: %q", report.Findings)
	}
	if report.Clean() == nil {
		t.Error("all that is called clean")
	}
	if m := report.Delay.Max(); m != 100*time.Millisecond {
		t.Errorf("the longest delay is %v", m)
	}
	if n, err := stores.Indexed(t.Context()); err != nil || n != 16 {
		t.Errorf("%d documents are counted, error %v", n, err)
	}
}

func do(t *testing.T, method, url, body string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s %s answered %s", method, url, response.Status)
	}
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("read the answer to %s %s: %v", method, url, err)
	}
	return answer
}
