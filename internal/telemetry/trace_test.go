package telemetry_test

import (
	"strings"
	"testing"
	"time"

	"millrace/internal/telemetry"
)

// A trace is a field more at the end of the head, which readers that do not know it pass on: all else stands where it stood.
func TestTraceIsLastInTheHead(t *testing.T) { // not parallel: it counts allocations
	const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	at := time.Date(2026, 11, 30, 6, 0, 0, 0, time.UTC)
	head := telemetry.Head{
		Index: "telemetry-log-2026.11.30", Earlier: "telemetry-log-2026", Digest: 7, ReceivedAt: at,
		Tenant: `te"nant`, Region: "eu-west-1", ID: `a\b`, Type: "log", Timestamp: at,
	}
	body := []byte(`{"attributes":{"ingest_trace":"deeper"}}`)
	without := telemetry.AppendRecord(nil, head, body)
	head.Trace = traceparent
	with := telemetry.AppendRecord(nil, head, body)
	if got := traceOf(with); string(got) != traceparent {
		t.Errorf("the trace is %q", got)
	}
	if got := traceOf(without); got != nil {
		t.Errorf("without one the trace is %q", got)
	}
	if got := traceOf([]byte(strings.Replace(string(with), `te\"nant`, `te\\`, 1))); string(got) != traceparent {
		t.Errorf("behind a tenant that ends with a backslash the trace is %q", got)
	}
	if rest := strings.Replace(string(with), `,"ingest_trace":"`+traceparent+`","attributes"`, `,"attributes"`, 1); rest != string(without) {
		t.Errorf("beside the trace, the record is %s, not %s", rest, without)
	}
	if telemetry.ParseFields(with) != telemetry.ParseFields(without) || telemetry.ParseFields(with).ID != head.ID {
		t.Errorf("the fields are %+v, not %+v", telemetry.ParseFields(with), telemetry.ParseFields(without))
	}
	for _, foreign := range []string{"", "{}", string(with[:len(with)/2]), strings.Replace(string(with), `"region"`, `"ragion"`, 1)} {
		if got := traceOf([]byte(foreign)); got != nil {
			t.Errorf("the trace of %s is %q", foreign, got)
		}
	}
	if allocations := testing.AllocsPerRun(100, func() { traceOf(with) }); allocations != 0 {
		t.Errorf("it allocates %v times", allocations)
	}
}

// traceOf returns the trace of a stream record; none of one that is foreign.
func traceOf(data []byte) []byte {
	record, err := telemetry.Parse(data)
	if err != nil {
		return nil
	}
	return record.Trace()
}
