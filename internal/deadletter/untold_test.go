package deadletter

import (
	"context"
	"errors"
	"slices"
	"testing"

	"millrace/internal/ledger"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
	"millrace/test/kit/made"
)

// untold reads which entries the dead-letter queue does not know.
func (g *stores) untold() (keys []string) {
	g.Helper()
	for key, err := range g.Ledger.Untold(g.Context()) {
		if err != nil {
			g.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func ledgerKeys(letters []queue.DeadLetter) (keys []string) {
	for _, l := range letters {
		keys = append(keys, l.Millrace.Ledger)
	}
	return slices.Compact(keys)
}

// recordNamed is a stream record with this id.
func recordNamed(id string) []byte {
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-span-2026.11.23", ReceivedAt: made.Arrival, Tenant: "acme", ID: id, Type: "span", Timestamp: made.Arrival,
	}, []byte("{}"))
}

// TestLettersHoldOnlyWhatSQSTakes: SQS refuses most control characters, and
// U+FFFE and U+FFFF, in a message; ids have them and come back as they were.
func TestLettersHoldOnlyWhatSQSTakes(t *testing.T) {
	t.Parallel()
	g := newStores(t)
	g.Proxy.Set(faultproxy.Rule{Name: "refused", Operation: "SendMessageBatch", Fault: faultproxy.StrictMessages{}})
	run := Group{Range: made.Range("10", "14", 5)}
	ids := []string{"a\uFFFEb", "\uFFFF", "\x00\x1f\x7f", "ü€\U0001F600\U0010FFFF", `\ufffe "quoted"`}
	for n, id := range ids {
		run.Records = append(run.Records, stream.Record{Sequence: string(rune('1')) + string(rune('0'+n)), Arrived: made.Arrival, Data: recordNamed(id)})
		run.Causes = append(run.Causes, refusal())
	}
	if err := g.writer.Write(t.Context(), []Group{run}); err != nil {
		t.Fatal(err)
	}
	letters := g.Letters()
	if len(letters) != 1 || len(letters[0].Millrace.Records) != len(ids) || len(g.untold()) > 0 {
		t.Fatalf("letters %+v, untold %v, refused %v", letters, g.untold(), g.Proxy.Log())
	}
	for n, r := range letters[0].Millrace.Records {
		if r.ID != ids[n] {
			t.Errorf("id %q came as %q", ids[n], r.ID)
		}
	}
}

// TestARefusedLetterDelaysNoOther: nor does an entry that was resolved
// or deleted meanwhile.
func TestARefusedLetterDelaysNoOther(t *testing.T) {
	t.Parallel()
	g := newStores(t)
	g.Proxy.Set(faultproxy.Rule{Name: "away", Operation: "SendMessageBatch", Fault: faultproxy.Reset{}})
	var runs []Group
	for _, first := range []string{"10", "20", "30", "40", "50", "60", "70"} {
		runs = append(runs, twoRecords(first, first[:1]+"5"))
	}
	if err := g.writer.Write(t.Context(), runs); err != nil {
		t.Fatal(err)
	}
	keys := g.untold()
	if len(keys) != len(runs) {
		t.Fatalf("untold are %v", keys)
	}
	if err := g.Ledger.Resolve(t.Context(), keys[6], ledger.Resolution{How: ledger.HowIndexed}); err != nil {
		t.Fatal(err)
	}
	g.Proxy.Set()
	// The first entries are never taken.
	picky := &picky{DeadLetters: g.teller.notifier.dlq.(*queue.DeadLetters), refused: keys[:4]}
	g.teller.notifier.dlq = picky
	for range 4 {
		if _, err := g.teller.TellUntold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if untold := g.untold(); !slices.Equal(untold, keys[:4]) {
		t.Errorf("untold are %v", untold)
	}
	if told := ledgerKeys(g.Letters()); !slices.Equal(told, keys[4:6]) {
		t.Errorf("letters report %v", told)
	}
}

// picky never takes letters about some entries.
type picky struct {
	*queue.DeadLetters
	refused []string
}

func (p *picky) Send(ctx context.Context, letters []queue.DeadLetter) ([]int, error) {
	if slices.Contains(p.refused, letters[0].Millrace.Ledger) {
		return []int{0}, errors.New("refused")
	}
	return p.DeadLetters.Send(ctx, letters)
}

// TestAnOutageCostsOneAttempt: what is given up while the queue is known to
// be away waits for no further attempt.
func TestAnOutageCostsOneAttempt(t *testing.T) {
	t.Parallel()
	s := &steps{queueErr: errors.New("away")}
	w := &Writer{ledger: serially{s, make(chan struct{}, 1)}, notifier: notifier{dlq: s}}
	for n := range 5 {
		s.letters, s.entries = 0, 0
		if err := w.Write(t.Context(), []Group{twoRecords("10", "20")}); err != nil {
			t.Fatal(err)
		}
		if s.letters > 0 && n > 0 {
			t.Errorf("write %d sent %d letters", n, s.letters)
		}
	}
	if len(s.untold) != 5 {
		t.Errorf("untold are %v", s.untold)
	}
}
