package backup

import (
	"bytes"
	"testing"

	"millrace/internal/telemetry"
)

// Whatever a record is, its line is one, and gives the record back; and a line
// that is read is written so that it is read the same again.
func FuzzParseLine(f *testing.F) {
	head := telemetry.Head{Index: "telemetry-log-undated", ReceivedAt: telemetry.EarliestTimestamp, Tenant: "t", Region: "r", ID: "1", Type: "log", Timestamp: telemetry.EarliestTimestamp}
	for _, data := range [][]byte{telemetry.AppendRecord(nil, head, []byte(`{"n":1}`)), []byte("no JSON\n"), nil} {
		f.Add(data)
		f.Add(bytes.TrimSuffix(appendLine(nil, "shardId-000000000000", Record{Sequence: "1", Arrived: telemetry.EarliestTimestamp, Data: data}), []byte{'\n'}))
	}
	same := func(t *testing.T, shard string, r Record) {
		line, ended := bytes.CutSuffix(appendLine(nil, shard, r), []byte{'\n'})
		id, got, err := ParseLine(line)
		if err != nil || !ended || id != shard || got.Sequence != r.Sequence || !got.Arrived.Equal(r.Arrived) || !bytes.Equal(got.Data, r.Data) {
			t.Fatalf("%q is read as %q %q %q, %v", line, id, got.Sequence, got.Data, err)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := Record{Sequence: "49590338271490256608559692538361571095921575989136588898", Arrived: telemetry.EarliestTimestamp, Data: text}
		if line := appendLine(nil, "shardId-000000000000", r); bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%q is not one line", line)
		}
		same(t, "shardId-000000000000", r)
		if shard, r, err := ParseLine(text); err == nil {
			same(t, shard, r)
		}
	})
}
