// Package made makes stream records, and what belongs to them, for tests.
package made

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// Arrival is when records arrived in the stream.
var Arrival = time.Date(2026, 11, 23, 1, 2, 3, 4_000_000, time.UTC)

// Stream is the stream of Range.
var Stream = telemetry.StreamID{
	Name: "telemetry", ARN: "arn:aws:kinesis:eu-west-1:000000000000:stream/telemetry", Created: Arrival.Add(-time.Hour),
}

// Sequence is the sequence number of the nth record.
func Sequence(n int) string { return fmt.Sprintf("%d", 1_000_000+10*n) }

// Record is the nth stream record: its id is n.
func Record(n int) []byte {
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-span-2026.11.23", ReceivedAt: at, Tenant: "acme", Region: "eu-west-1",
		ID: fmt.Sprint(n), Type: "span", Timestamp: at,
	}, []byte(`{"name":"x"}`))
}

// DocOf is the document id of the nth record.
func DocOf(n int) string { return telemetry.ParseFields(Record(n)).DocID }

// Range is a range of a shard of Stream.
func Range(first, last string, count int) telemetry.Range {
	return telemetry.Range{
		StreamARN: Stream.ARN, StreamCreated: Stream.Created, Shard: "shardId-000000000001", First: first, Last: last, Count: count,
	}
}

// Lines are the lines of a bulk.
func Lines(b *sink.Bulk) [][]byte {
	return bytes.Split(bytes.TrimSuffix(b.Body(), []byte("\n")), []byte("\n"))
}

// Documents are the ids of the documents in a bulk. It panics if the bulk is not as
// Elasticsearch wants it.
func Documents(b *sink.Bulk) (ids []telemetry.DocID) {
	lines := Lines(b)
	for n := 0; n+1 < len(lines); n += 2 {
		var action struct {
			Create struct {
				ID string `json:"_id"`
			}
		}
		if err := json.Unmarshal(lines[n], &action); err != nil || !json.Valid(lines[n+1]) {
			panic(fmt.Sprintf("line %d of a bulk: %v", n, err))
		}
		id, err := telemetry.ParseDocID([]byte(action.Create.ID))
		if err != nil {
			panic(err)
		}
		ids = append(ids, id)
	}
	return ids
}
