package ledger_test

import (
	"testing"
	"time"

	"millrace/internal/ledger"
)

func TestKeyNamesItsRange(t *testing.T) {
	t.Parallel()
	created := time.Unix(1_795_392_000, 0)
	for key, want := range map[string]string{
		"ledger/open/s/shardId-000000000003/17-20.1795392000.json":         "shardId-000000000003 17-20",
		"ledger/done/s/shardId-000000000003/17-20.json":                    "shardId-000000000003 17-20",
		"ledger/open/s/shardId-000000000003/17-20.1795392001.json":         "", // of another stream
		"ledger/open/s/shardId-000000000003/loss-17-20.1795392000.json":    "", // without the records
		"ledger/open/s/ingest/recover-1-0-0123456789abcdef.json":           "",
		"ledger/open/s/shardId-000000000003/copy-17-20.1795392000.r.json":  "",                               // held by a batch
		"ledger/open/s/shardId-000000000003/many-17-20.1795392000.0a.json": "",                               // has not all of them
		"ledger/open/s/shardId-000000000003/17_1-20_2.1795392000.json":     "shardId-000000000003 17_1-20_2", // inside of containers
		"ledger/open/s/shardId-000000000003/17_-20.1795392000.json":        "",
		"elsewhere": "",
	} {
		r, ok := ledger.RangeOf(key, created)
		got := ""
		if ok {
			got = r.Shard + " " + r.First + "-" + r.Last
		}
		if got != want {
			t.Errorf("%s gives %q, want %q", key, got, want)
		}
	}
}

func TestKeyTellsAPossibleLoss(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"ledger/open/s/shardId-000000000003/loss-17-20.1795392000.json": true,
		"ledger/done/s/shardId-000000000003/loss--20.json":              true, // without a checkpoint
		"ledger/open/s/shardId-000000000003/17-20.1795392000.json":      false,
		"ledger/open/loss-1/shardId-000000000003/17-20.json":            false,
		"elsewhere": false,
	} {
		if got := ledger.IsLoss(key); got != want {
			t.Errorf("%s is a loss: %v", key, got)
		}
	}
}

func TestCopyKeyNamesItsRange(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_795_392_000, 0)
	for key, want := range map[string]string{
		"ledger/open/s/shardId-000000000003/copy-17-20.1795392000.run.json": "shardId-000000000003 17-20",
		"ledger/done/s/shardId-000000000003/copy-17-20.run.json":            "shardId-000000000003 17-20",
		"ledger/open/s/shardId-000000000003/copy-17-20.1795392001.run.json": "", // of another stream
		"ledger/open/s/shardId-000000000003/copy-17-20.json":                "", // held by none
		"ledger/open/s/shardId-000000000003/17-20.1795392000.json":          "",
		"ledger/open/s/shardId-000000000003/copy-17.1795392000.run.json":    "",
	} {
		r, ok := ledger.CopyOf(key, at)
		got := ""
		if ok {
			got = r.Shard + " " + r.First + "-" + r.Last
		}
		if got != want {
			t.Errorf("%s gives %q, want %q", key, got, want)
		}
	}
}

func TestSparseKeyNamesItsRange(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_795_392_000, 0)
	for key, want := range map[string]string{
		"ledger/open/s/shardId-000000000003/many-17-20.1795392000.0a.json":                            "shardId-000000000003 17-20",
		"ledger/done/s/shardId-000000000003/many-17-20.0a.json":                                       "shardId-000000000003 17-20",
		"ledger/open/s/shardId-000000000003/many-17-20.1795392001.0a.json":                            "", // of another stream
		"ledger/open/s/shardId-000000000003/17-20.1795392000.json":                                    "",
		"ledger/open/s/shardId-000000000003/copy-17-20.1795392000.r.json":                             "",
		"ledger/open/s/shardId-000000000003/many-17.1795392000.0a.json":                               "",
		"ledger/open/s/shardId-000000000003/parked-17-20.1795392000.0a.telemetry-log-2026.11.23.json": "shardId-000000000003 17-20",
		"ledger/open/s/shardId-000000000003/parked-17-20.1795392001.0a.telemetry-log-2026.11.23.json": "", // of another stream
	} {
		r, ok := ledger.ManyOf(key, at)
		got := ""
		if ok {
			got = r.Shard + " " + r.First + "-" + r.Last
		}
		if got != want {
			t.Errorf("%s gives %q, want %q", key, got, want)
		}
	}
}

func TestParkedKeyNamesItsIndex(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"ledger/open/s/shard/parked-17-20.1795392000.0a.telemetry-log-2026.11.23.json": "telemetry-log-2026.11.23",
		"ledger/open/s/shard/parked-17-20.1795392000.0a.telemetry-log-undated.json":    "telemetry-log-undated",
		"ledger/open/s/shard/many-17-20.1795392000.0a.json":                            "",
		"ledger/open/s/shard/parked-17-20.1795392000.0a.json":                          "",
	} {
		if got, ok := ledger.ParkedOf(key); got != want || ok != (want != "") {
			t.Errorf("%s names %q, want %q", key, got, want)
		}
	}
}
