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
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/deploy/local/localtest"
	"millrace/internal/load"
	"millrace/test/kit/audit"
)

const ledgerKey = "ledger/open/stream/shard/1-2.json"

// Every kind of end that a record can have, each of them found and none taken
// for another.
func TestRunTellsEveryOutcome(t *testing.T) {
	t.Parallel()
	cfg := localtest.AWS(t)
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	name := localtest.Name(t, "")
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(cfg.Region)},
	}); err != nil {
		t.Fatal(err)
	}
	queues := sqs.NewFromConfig(cfg)
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	index := "telemetry-" + name // others' may go while they are read
	stores := audit.Stores{
		Elasticsearch: localtest.Elasticsearch(t), Index: index, Tenant: name, S3: client, Bucket: name,
		DeadLetters: *queue.QueueUrl, Queues: queues,
	}
	// The pipeline's templates may be installed, in which the duration of a bad
	// record is no number and refused: here it must be indexed.
	do(t, http.MethodPut, stores.Elasticsearch+"/"+index, `{"settings":{"number_of_shards":1,"number_of_replicas":0},
		"mappings":{"dynamic":false,"properties":{"tenant":{"type":"keyword"},"duration":{"type":"keyword"}}}}`)
	t.Cleanup(func() {
		do(t, http.MethodDelete, stores.Elasticsearch+"/"+index, "")
		_, _ = client.DeleteObject(context.WithoutCancel(t.Context()), &s3.DeleteObjectInput{Bucket: &name, Key: aws.String(ledgerKey)})
		_, _ = client.DeleteBucket(context.WithoutCancel(t.Context()), &s3.DeleteBucketInput{Bucket: &name})
		_, _ = queues.DeleteQueue(context.WithoutCancel(t.Context()), &sqs.DeleteQueueInput{QueueUrl: queue.QueueUrl})
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
	why := map[string]any{"type": "document_parsing_exception", "reason": "failed to parse field [duration]"}
	var dead []map[string]any // in the ledger's entry
	giveUp := func(n uint64, cause any, change func(payload map[string]any)) {
		d := document(n)
		change(d)
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		dead = append(dead, map[string]any{"id": source.ID(n), "type": d["type"], "tenant": name, "error": cause, "data": text})
	}
	same := func(map[string]any) {}
	tell := func(n uint64, entry string, cause any) {
		text, err := json.Marshal(map[string]any{"version": "1.0", "millrace": map[string]any{
			"ledger": entry, "records": []map[string]any{{"id": source.ID(n), "error": cause}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String(string(text))}); err != nil {
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
	giveUp(good[13], why, same)
	giveUp(bad[0], why, same)
	giveUp(good[1], why, same) // indexed wins
	for range 6 {              // more letters than come at once
		tell(good[13], ledgerKey, why)
		tell(bad[0], ledgerKey, why)
	}
	for _, n := range good[14:19] { // lost too, each in the ledger
		accepted.Add(n)
	}
	tell(good[14], ledgerKey, why)
	giveUp(good[14], nil, same)
	tell(good[15], ledgerKey, why)
	giveUp(good[15], why, func(payload map[string]any) { delete(payload, "resource") })
	giveUp(good[16], why, same) // no letter reports it,
	tell(good[17], ledgerKey, nil)
	giveUp(good[17], why, same) // or not of its error,
	tell(good[18], strings.Replace(ledgerKey, "1-2", "1-1", 1), why)
	giveUp(good[18], why, same) // or of another entry
	entry, err := json.Marshal(map[string]any{"kind": "bulk", "source": "batch/1-2", "records": dead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: aws.String(ledgerKey), Body: bytes.NewReader(entry)}); err != nil {
		t.Fatal(err)
	}
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

	sent := audit.Sent{Source: source, Accepted: &accepted}
	report, err := audit.Run(t.Context(), stores, sent)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := func(r audit.Report) string {
		r.Delay, r.Findings = nil, nil
		return fmt.Sprintf("%+v", r)
	}
	want := audit.Report{
		Accepted: 20, Indexed: 12, DeadLettered: 2, Lost: 6, Duplicated: 2, Altered: 1, Misjudged: 2, Unanswered: 1, Bad: 2, Others: 1,
	}
	if verdicts(report) != verdicts(want) {
		t.Errorf("the report is\n%+v, want\n%+v\n%s", report, want, strings.Join(report.Findings, "\n"))
	}
	if len(report.Findings) != 11 {
		t.Errorf("findings: %q", report.Findings)
	}
	for _, finding := range []string{"without its error", "with another resource", "does not report it"} {
		if !strings.Contains(strings.Join(report.Findings, "\n"), finding) {
			t.Errorf("no finding says %q: %q", finding, report.Findings)
		}
	}
	if report.Clean() == nil {
		t.Error("all that is called clean")
	}
	// Letters that were read stay for the next reader.
	if again, err := audit.Run(t.Context(), stores, sent); err != nil || verdicts(again) != verdicts(want) {
		t.Errorf("the second report is %+v, error %v", again, err)
	}
	stores.DeadLetters = ""
	want.DeadLettered, want.Misjudged, want.Lost = 5, 5, 3
	if unasked, err := audit.Run(t.Context(), stores, sent); err != nil || verdicts(unasked) != verdicts(want) {
		t.Errorf("without the dead-letter queue the report is %+v, error %v", unasked, err)
	}
	for source, want := range map[string]int{"batch/1-2": len(dead) - 1 /* one has no error */, "batch/1": 0} {
		if n, err := stores.GivenUpBy(t.Context(), source); err != nil || n != want {
			t.Errorf("%s gave up %d records, error %v; want %d", source, n, err, want)
		}
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
	response, err := localtest.Client(t).Do(request)
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
