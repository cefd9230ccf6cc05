package activities

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
)

var _ UntoldLetters = (*Teller)(nil)

// untold reads which entries the dead-letter queue does not know.
func (g *graveyard) untold() (keys []string) {
	g.Helper()
	for key, err := range g.ledger.Untold(g.Context()) {
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
		Index: "telemetry-span-2026.11.23", ReceivedAt: arrival, Tenant: "acme", ID: id, Type: "span", Timestamp: arrival,
	}, []byte("{}"))
}

// TestLettersHoldOnlyWhatSQSTakes: SQS refuses most control characters, and
// U+FFFE and U+FFFF, in a message; ids have them and come back as they were.
func TestLettersHoldOnlyWhatSQSTakes(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	g.queue.Set(faultproxy.Rule{Name: "refused", Operation: "SendMessageBatch", Fault: faultproxy.StrictMessages{}})
	run := Dead{Range: deadRange("10", "14", 5)}
	ids := []string{"a\uFFFEb", "\uFFFF", "\x00\x1f\x7f", "ü€\U0001F600\U0010FFFF", `\ufffe "quoted"`}
	for n, id := range ids {
		run.Records = append(run.Records, stream.Record{Sequence: string(rune('1')) + string(rune('0'+n)), Arrived: arrival, Data: recordNamed(id)})
		run.Causes = append(run.Causes, refusal())
	}
	if err := g.morgue.Bury(t.Context(), []Dead{run}); err != nil {
		t.Fatal(err)
	}
	letters := g.letters()
	if len(letters) != 1 || len(letters[0].Millrace.Records) != len(ids) || len(g.untold()) > 0 {
		t.Fatalf("letters %+v, untold %v, refused %v", letters, g.untold(), g.queue.Log())
	}
	for n, r := range letters[0].Millrace.Records {
		if r.ID != ids[n] {
			t.Errorf("id %q came as %q", ids[n], r.ID)
		}
	}
}

// TestDeadLetterQueueHoldsNoMark: while the queue is away, or refuses all, a
// flood of poison goes into the ledger and the shard goes on; the letters of
// exactly those entries come later.
func TestDeadLetterQueueHoldsNoMark(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faultproxy.Fault{
		"away":        faultproxy.Reset{},
		"refuses all": faultproxy.StrictMessages{Limit: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGraveyard(t)
			w := calmWorld(300)
			w.item = badShare(0.3)
			p := w.processor()
			p.Morgue = g.morgue
			if err := g.morgue.Bury(t.Context(), []Dead{deadRun("10", "20")}); err != nil {
				t.Fatal(err)
			}
			before := ledgerKeys(g.letters())
			g.queue.Set(faultproxy.Rule{Name: "fault", Operation: "SendMessageBatch", Fault: fault})
			got := indexShard(t, p, IndexInput{For: time.Minute})
			if !got.Checkpoint.Closed || got.Counts.Indexed+got.Counts.DeadLetters != 300 || got.Counts.DeadLetters == 0 {
				t.Fatalf("the shard is at %+v", got)
			}
			entries := g.entries()
			for _, key := range before {
				delete(entries, key)
			}
			written := slices.Sorted(maps.Keys(entries))
			if untold := g.untold(); !slices.Equal(untold, written) {
				t.Fatalf("untold are %d of %d entries", len(untold), len(written))
			}
			if left, err := g.teller.TellUntold(t.Context()); left != len(written) || err != nil || len(g.letters()) > 0 {
				t.Fatalf("during the fault %d of %d are left, error %v", left, len(written), err)
			}
			g.queue.Set()
			if left, err := g.teller.TellUntold(t.Context()); left != 0 || err != nil {
				t.Fatalf("after the fault %d are left, error %v", left, err)
			}
			if told := ledgerKeys(g.letters()); !slices.Equal(told, written) {
				t.Errorf("letters report %d entries, want %d", len(told), len(written))
			}
			if untold := g.untold(); len(untold) > 0 {
				t.Errorf("still untold are %v", untold)
			}
		})
	}
}

// TestALetterThatIsNeverTakenHoldsNoOther: nor does an entry that was resolved
// or deleted meanwhile.
func TestALetterThatIsNeverTakenHoldsNoOther(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	g.queue.Set(faultproxy.Rule{Name: "away", Operation: "SendMessageBatch", Fault: faultproxy.Reset{}})
	var runs []Dead
	for _, first := range []string{"10", "20", "30", "40", "50", "60", "70"} {
		runs = append(runs, deadRun(first, first[:1]+"5"))
	}
	if err := g.morgue.Bury(t.Context(), runs); err != nil {
		t.Fatal(err)
	}
	keys := g.untold()
	if len(keys) != len(runs) {
		t.Fatalf("untold are %v", keys)
	}
	if err := g.ledger.Resolve(t.Context(), keys[6], ledger.Resolution{How: HowIndexed}); err != nil {
		t.Fatal(err)
	}
	g.queue.Set()
	// The first entries are never taken.
	picky := &picky{DeadLetters: g.teller.herald.dlq.(*queue.DeadLetters), refused: keys[:4]}
	g.teller.herald.dlq = picky
	for range 4 {
		if _, err := g.teller.TellUntold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if untold := g.untold(); !slices.Equal(untold, keys[:4]) {
		t.Errorf("untold are %v", untold)
	}
	if told := ledgerKeys(g.letters()); !slices.Equal(told, keys[4:6]) {
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

// TestAnOutageCostsOneAttempt: what is buried while the queue is known to be
// away waits for no further attempt.
func TestAnOutageCostsOneAttempt(t *testing.T) {
	t.Parallel()
	s := &steps{queueErr: errors.New("away")}
	m := &Morgue{ledger: serially{s, make(chan struct{}, 1)}, herald: herald{dlq: s}}
	for n := range 5 {
		s.letters, s.entries = 0, 0
		if err := m.Bury(t.Context(), []Dead{deadRun("10", "20")}); err != nil {
			t.Fatal(err)
		}
		if s.letters > 0 && n > 0 {
			t.Errorf("burial %d sent %d letters", n, s.letters)
		}
	}
	if len(s.untold) != 5 {
		t.Errorf("untold are %v", s.untold)
	}
}
