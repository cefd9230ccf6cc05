package api

import (
	"strings"
	"testing"

	"millrace/internal/telemetry"
)

// readTraced reads a body of /v1/telemetry whose request is traced.
func readTraced(t *testing.T, limits Limits, trace, body string) *batch {
	t.Helper()
	b := newBatch(limits.withDefaults(), testTenant, testRegion, testNow, []byte(body), new(draft))
	b.trace = trace
	if err := telemetryArray(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// traceOf returns the trace of a stream record.
func traceOf(t *testing.T, data []byte) []byte {
	t.Helper()
	record, err := telemetry.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return record.Trace()
}

const traceparentOfTest = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestFirstRecordOfTracedRequestCarriesTheTrace(t *testing.T) {
	t.Parallel()
	const body = `[{"id":"bad"},{"id":"a","type":"log","message":"x"},{"id":"b","type":"log"}]`
	untraced, traced := readTraced(t, Limits{}, "", body), readTraced(t, Limits{}, traceparentOfTest, body)
	if got := traceOf(t, traced.records[0]); string(got) != traceparentOfTest {
		t.Errorf("the first record carries %q", got)
	}
	if string(traced.records[1]) != string(untraced.records[1]) {
		t.Errorf("the second record is %s", traced.records[1])
	}
	with, _ := telemetry.Parse(traced.records[0])
	without, _ := telemetry.Parse(untraced.records[0])
	if with.Digest != without.Digest || with.DocID != without.DocID {
		t.Errorf("digest and id are %v and %v, without the trace %v and %v", with.Digest, with.DocID, without.Digest, without.DocID)
	}
	tight := Limits{RecordBytes: len(untraced.records[0])} // which has no room for the trace
	if b := readTraced(t, tight, traceparentOfTest, body); len(b.records) != 2 || string(b.records[0]) != string(untraced.records[0]) {
		t.Errorf("a record without room for the trace: %d are taken, %v", len(b.records), b.rejections())
	}
}

func TestBodyCannotClaimATrace(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ingest_trace", "Ingest_Trace"} {
		b := readTraced(t, Limits{}, "", `[{"`+name+`":"`+traceparentOfTest+`","id":"a","type":"log"}]`)
		if got := traceOf(t, b.records[0]); got != nil {
			t.Errorf("%s of a body becomes the trace %s", name, got)
		}
		if !strings.Contains(string(b.records[0]), `"original_ingest_trace":"`+traceparentOfTest) {
			t.Errorf("%s of a body is gone: %s", name, b.records[0])
		}
	}
}
