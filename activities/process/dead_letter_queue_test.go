package process

import (
	"maps"
	"slices"
	"testing"
	"time"

	"millrace/internal/deadletter"
	"millrace/internal/outcome"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/test/kit/deadletters"
	"millrace/test/kit/faultproxy"
	"millrace/test/kit/made"
)

var _ DeadLetters = (*deadletter.Writer)(nil)

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
			s := deadletters.New(t)
			writer, teller := deadletter.NewWriter(s.Ledger, s.Queue).Patient(), deadletter.NewTeller(s.Ledger, s.Queue).Patient()
			w := calmBackends(300)
			w.item = badShare(0.3)
			p := w.processor()
			p.DeadLetters = writer
			if err := writer.Write(t.Context(), []deadletter.Group{twoDeadLetters()}); err != nil {
				t.Fatal(err)
			}
			before := ledgerKeys(s.Letters())
			s.Proxy.Set(faultproxy.Rule{Name: "fault", Operation: "SendMessageBatch", Fault: fault})
			got := indexShard(t, p, IndexInput{For: time.Hour}) // it ends with the shard
			if !got.Checkpoint.Closed || got.Counts.Indexed+got.Counts.DeadLetters != 300 || got.Counts.DeadLetters == 0 {
				t.Fatalf("the shard is at %+v", got)
			}
			entries := s.Entries()
			for _, key := range before {
				delete(entries, key)
			}
			written := slices.Sorted(maps.Keys(entries))
			if untold := untoldKeys(s); !slices.Equal(untold, written) {
				t.Fatalf("untold are %d of %d entries", len(untold), len(written))
			}
			if left, err := teller.TellUntold(t.Context()); left != len(written) || err != nil || len(s.Letters()) > 0 {
				t.Fatalf("during the fault %d of %d are left, error %v", left, len(written), err)
			}
			s.Proxy.Set()
			if left, err := teller.TellUntold(t.Context()); left != 0 || err != nil {
				t.Fatalf("after the fault %d are left, error %v", left, err)
			}
			if told := ledgerKeys(s.Letters()); !slices.Equal(told, written) {
				t.Errorf("letters report %d entries, want %d", len(told), len(written))
			}
			if untold := untoldKeys(s); len(untold) > 0 {
				t.Errorf("still untold are %v", untold)
			}
		})
	}
}

// twoDeadLetters are a record of ours and a foreign one, of another shard.
func twoDeadLetters() deadletter.Group {
	return deadletter.Group{
		Range: made.Range("10", "20", 2),
		Records: []stream.Record{
			{Sequence: "10", Arrived: made.Arrival, Data: made.Record(1)},
			{Sequence: "20", Arrived: made.Arrival.Add(time.Second), Data: []byte(`{"password":"` + deadletters.Secret + `"}`)},
		},
		Causes: []outcome.Error{
			{Type: "document_parsing_exception", Status: 400, Reason: "failed to parse field [password] of type [long]. Preview of field's value: '" + deadletters.Secret + "'"},
			{Type: "foreign_record", Reason: "the head is missing"},
		},
	}
}

// untoldKeys are the entries that the dead-letter queue does not know.
func untoldKeys(s *deadletters.Stores) (keys []string) {
	s.Helper()
	for key, err := range s.Ledger.Untold(s.Context()) {
		if err != nil {
			s.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// ledgerKeys are the entries that letters are about; letters come in their order.
func ledgerKeys(letters []queue.DeadLetter) (keys []string) {
	for _, l := range letters {
		keys = append(keys, l.Millrace.Ledger)
	}
	return slices.Compact(keys)
}
