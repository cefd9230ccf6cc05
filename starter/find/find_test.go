package find_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/starter/find"
)

var record = flag.Bool("record", false, "write testdata/answer.json anew")

// TestAnswerIsStable: scripts read it. Every member is there, also of a place that has
// nothing to say.
func TestAnswerIsStable(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	odd := outcome.Error{Type: "odd", Reason: "it is so", Status: 400}
	got, err := json.MarshalIndent(find.Answer{
		Question: find.Question{Tenant: "acme", ID: "id", Trace: "trace", Doc: "doc", Request: "request", Around: at, Most: 20},
		Found:    true,
		Index: find.Search[find.Document]{State: find.Found, Found: []find.Document{{
			Index: "telemetry-span-2026.11.23", Doc: "doc", Tenant: "acme", ID: "id", Type: "span", ReceivedAt: at, IndexedAt: at, Region: "eu-west-1",
		}}, Gaps: []string{"a gap"}},
		Ledger: find.Search[find.Letter]{State: find.Found, Found: []find.Letter{{
			Key: "ledger/open/a", Kind: ledger.Bulk, Open: true, At: at, ReceivedAt: at, Tenant: "acme", ID: "id", Doc: "doc", Type: "span",
			Index: "telemetry-span-2026.11.23", Error: odd, Shard: "shardId-000000000001", Sequence: "10", Held: "batch/a", Ended: "indexed",
			Resolution: &ledger.Resolution{How: "indexed", By: "ada", At: at},
		}}, More: true},
		Ingest:  find.Search[find.Ingest]{State: find.Found, Found: []find.Ingest{{Workflow: "ingest/a", State: "Running", Position: 1, Records: 3, Left: 2}}},
		Queue:   find.Search[find.Queued]{State: find.Found, Found: []find.Queued{{Workflow: "ingest/a", Position: 1, At: at}}},
		Batches: find.Search[find.Batch]{State: find.Found, Found: []find.Batch{{Workflow: "batch/a", Shard: "s", Sequence: "10", First: "1", Last: "20", State: "waiting", Attempts: 2, Error: odd, Due: at}}},
		Stream:  find.Search[find.Position]{State: find.Found, Found: []find.Position{{Shard: "s", Sequence: "10", From: find.FromBatch}}},
		Backup:  find.Search[find.Copy]{State: find.Found, Found: []find.Copy{{Object: "backup/a", Shard: "s", Sequence: "10", Arrived: at}}},
	}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/answer.json"
	if got = append(got, '\n'); *record {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v; the answer is\n%s", err, got)
	}
}
