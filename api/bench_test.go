package api

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"millrace/internal/load"
)

// benchSource makes the records of the pipeline's other benchmarks, of about
// 450 bytes.
func benchSource() *load.Source {
	return &load.Source{Run: "bench-1", Start: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Interval: time.Millisecond}
}

func benchBody(records int) []byte {
	source, body := benchSource(), []byte(nil)
	for n := range uint64(records) {
		body = append(body, "[,"[min(n, 1)])
		body = source.Append(body, n)
	}
	return append(body, ']')
}

// benchmark reports what a record costs: every operation is one record.
func benchmark(b *testing.B, decode func(*batch) error, body []byte, records int) {
	limits := Limits{}.withDefaults()
	memory := new(draft)
	b.ReportAllocs()
	b.SetBytes(int64(len(body) / records))
	for n := 0; n < b.N; n += records {
		batch := newBatch(limits, testTenant, testRegion, testNow, body, memory)
		if err := decode(batch); err != nil || len(batch.records) != records {
			b.Fatalf("%d records, %v", len(batch.records), err)
		}
	}
}

func BenchmarkTelemetry(b *testing.B) { benchmark(b, telemetryArray, benchBody(100), 100) }

func BenchmarkTelemetryTenRecords(b *testing.B) { benchmark(b, telemetryArray, benchBody(10), 10) }

func BenchmarkTelemetryLines(b *testing.B) {
	lines := bytes.ReplaceAll(benchBody(100), []byte(`},{"id"`), []byte("}\n{\"id\""))
	benchmark(b, telemetryLines, bytes.Trim(lines, "[]"), 100)
}

func BenchmarkThundra(b *testing.B) {
	envelope := []byte(`,{"apiKey":"k","type":"Span","dataModelVersion":"2.0","data":{"id":"0f9c2b6e-4f0b-4b51-9f0c-2f6c8f0f0b11","type":"Span","agentVersion":"3.0.10",` +
		`"applicationId":"python:AWS-Lambda:eu-west-1:orders","applicationName":"orders","traceId":"e3b5","transactionId":"77aa","startTimestamp":1795428000123,"finishTimestamp":1795428000200,` +
		`"duration":77,"logs":[],"tags":{"aws.lambda.arn":"arn:aws:lambda:eu-west-1:123456789012:function:orders"}}}`)
	body := append(append([]byte{'['}, bytes.Repeat(envelope, 100)[1:]...), ']')
	benchmark(b, thundra, body, 100)
}

func BenchmarkOTLP(b *testing.B) {
	for _, s := range samples(b) {
		b.Run(s.signal.name+"/protobuf", func(b *testing.B) { benchmark(b, s.signal.decode(false), s.asProto, len(s.documents)) })
		b.Run(s.signal.name+"/json", func(b *testing.B) { benchmark(b, s.signal.decode(true), s.asJSON, len(s.documents)) })
	}
}

// BenchmarkServe is a whole post of ten records but for the network, with
// everything that stands before the records; every operation is one post.
func BenchmarkServe(b *testing.B) {
	c := newCollector(b, Limits{})
	c.ingester = ingestFunc(func(context.Context, [][]byte) error { return nil })
	handler, body := c.Handler(), benchBody(10)
	b.ReportAllocs()
	for b.Loop() {
		request := httptest.NewRequest(http.MethodPost, "/v1/telemetry", bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "ApiKey "+c.key)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusAccepted {
			b.Fatalf("answered %d %s", recorder.Code, recorder.Body)
		}
	}
}

// The walk over a record must not allocate for each of its members.
func TestRecordCostsFewAllocations(t *testing.T) {
	body, limits, memory := benchBody(100), Limits{}.withDefaults(), new(draft)
	perRecord := testing.AllocsPerRun(20, func() {
		if err := telemetryArray(newBatch(limits, testTenant, testRegion, testNow, body, memory)); err != nil {
			t.Fatal(err)
		}
	}) / 100
	if perRecord > 5 {
		t.Errorf("%.1f allocations a record, want at most 5", perRecord)
	}
}
