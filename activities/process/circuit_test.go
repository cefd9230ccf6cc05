package process

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// tenantBackends has records of some tenants in turn, and all else as calmWorld.
func tenantBackends(count int, tenants ...string) *backends {
	w := calmBackends(0)
	for n := range count {
		w.add(n, tenants[n%len(tenants)])
	}
	return w
}

// add adds record n, of a tenant.
func (w *backends) add(n int, tenant string) {
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	data := telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-span-2026.11.23", ReceivedAt: at, Tenant: tenant, ID: fmt.Sprint(n), Type: "span", Timestamp: at,
	}, []byte(`{"name":"x"}`))
	parsed, _ := telemetry.Parse(data)
	w.Records = append(w.Records, stream.Record{Sequence: made.Sequence(n), Arrived: time.Unix(int64(n), 0), Data: data})
	w.docs = append(w.docs, parsed.DocID)
}

// badTenants makes all documents of some tenants poison.
func (w *backends) badTenants(bad ...string) func(telemetry.DocID) outcome.Class {
	poison := map[telemetry.DocID]bool{}
	for n, r := range w.Records {
		if slices.Contains(bad, telemetry.ParseFields(r.Data).Tenant) {
			poison[w.docs[n]] = true
		}
	}
	return func(id telemetry.DocID) outcome.Class {
		if poison[id] {
			return outcome.Poison
		}
		return outcome.Indexed
	}
}

// badShare makes a share of the documents poison, always the same.
func badShare(share float64) func(telemetry.DocID) outcome.Class {
	return func(id telemetry.DocID) outcome.Class {
		if float64(id[0]) < share*256 {
			return outcome.Poison
		}
		return outcome.Indexed
	}
}

// TestTheCircuitOpensBeforeAFlood: of a shard in which the records of most
// tenants are poison nothing is given up, and its mark stays before it; probes take few records, and when all
// is mended everything is indexed.
func TestTheCircuitOpensBeforeAFlood(t *testing.T) {
	t.Parallel()
	for name, whole := range map[string]bool{"attributable": false, "not attributable": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := tenantBackends(3000, "acme", "globex")
			if whole {
				w.whole = func([]telemetry.DocID) bool { return true }
			} else {
				w.item = badShare(1)
			}
			p := w.processor()
			got := indexShard(t, p, IndexInput{For: time.Minute})
			if !got.Tripped || got.Waiting || got.Counts.DeadLetters+got.Counts.HandedOver >= 3*circuit.Least || !strings.Contains(got.LastError, "made_up") {
				t.Fatalf("the result is %+v", got)
			}
			given := got.Counts.DeadLetters + got.Counts.HandedOver
			probes := len(w.sizes)
			again := indexShard(t, p, IndexInput{For: time.Minute, Probe: true, Checkpoint: got.Checkpoint, Counts: got.Counts, Tenants: got.Tenants})
			if !again.Tripped || again.Counts.DeadLetters+again.Counts.HandedOver != given {
				t.Errorf("the probe ended with %+v", again)
			}
			for _, size := range w.sizes[probes:] {
				if size > circuit.Least {
					t.Errorf("a probe sent %d records", size)
				}
			}
			w.item, w.whole = badShare(0), nil
			mended := indexShard(t, p, IndexInput{For: time.Minute, Probe: true, Checkpoint: again.Checkpoint, Counts: again.Counts, Tenants: again.Tenants})
			if mended.Tripped || mended.Counts.Indexed == 0 {
				t.Errorf("when it is mended the probe ends with %+v", mended)
			}
			end := indexShard(t, p, IndexInput{For: time.Minute, Checkpoint: mended.Checkpoint, Counts: mended.Counts, Tenants: mended.Tenants})
			if !end.Checkpoint.Closed || end.Counts.Records != 3000 || end.Counts.Indexed+end.Counts.DeadLetters+end.Counts.HandedOver != 3000 {
				t.Errorf("in the end it is %+v", end)
			}
		})
	}
}

func TestTheCircuitStaysClosed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		records int
		share   float64
		force   bool
	}{
		"at a share that is no flood":   {3000, 0.3, false},
		"for few records":               {2 * (circuit.Least - 1), 1, false},
		"when an operator will have it": {3000, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := tenantBackends(c.records, "acme", "globex")
			w.item = badShare(c.share)
			got := indexShard(t, w.processor(), IndexInput{For: time.Minute, Force: c.force})
			if got.Tripped || !got.Checkpoint.Closed || got.Counts.Records != int64(c.records) || got.Counts.DeadLetters == 0 {
				t.Errorf("the result is %+v", got)
			}
		})
	}
}

// TestAProbeJudgesByWhatThereIs: also fewer records than the circuit opens for
// keep it open, and of them nothing is given up.
func TestAProbeJudgesByWhatThereIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		records int
		share   float64
		tripped bool
	}{
		"few, and all are bad":  {circuit.Least - 25, 1, true},
		"two, and they are bad": {2, 1, true},
		"one, and it is bad":    {1, 1, false}, // a tenant alone is no evidence
		"few, and some are":     {circuit.Least - 25, 0.3, false},
		"none":                  {0, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := tenantBackends(c.records, "acme", "globex")
			w.item = badShare(c.share)
			got := indexShard(t, w.processor(), IndexInput{For: time.Minute, Probe: true})
			given := got.Counts.DeadLetters + got.Counts.HandedOver
			if got.Tripped != c.tripped || c.tripped && (given > 0 || got.Checkpoint.Sequence != "") {
				t.Errorf("the probe ended with %+v", got)
			}
		})
	}
}

// TestAProbeThatLearnsNothingLeavesTheCircuitOpen: it was stopped while
// Elasticsearch did not answer, after an empty page of the shard.
func TestAProbeThatLearnsNothingLeavesTheCircuitOpen(t *testing.T) {
	t.Parallel()
	w := calmBackends(circuit.Least)
	w.item = func(telemetry.DocID) outcome.Class { return outcome.Transient }
	p := w.processor()
	p.Source = emptyFirst{w}
	p.Limits.WaitingAfter = 2 * longcall.LookEvery
	got := indexShard(t, p, IndexInput{For: time.Minute, Probe: true})
	if !got.Tripped || got.Waiting || got.Counts.Records > 0 || !strings.Contains(got.LastError, "index") {
		t.Errorf("the probe ended with %+v", got)
	}
}

// emptyFirst is a source whose readers begin with an empty page, as the stream's
// may.
type emptyFirst struct{ source.Source }

func (s emptyFirst) Read(shard string, from telemetry.Checkpoint) source.Reader {
	return &afterEmpty{Reader: s.Source.Read(shard, from)}
}

type afterEmpty struct {
	source.Reader
	begun bool
}

func (r *afterEmpty) Next(ctx context.Context) (stream.Page, error) {
	if !r.begun {
		r.begun = true
		return stream.Page{ReadUpTo: time.Unix(1, 0)}, nil
	}
	return r.Reader.Next(ctx)
}
