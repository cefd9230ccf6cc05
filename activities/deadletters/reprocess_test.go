package deadletters

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/test/kit/made"
)

// TestReprocessingBringsEveryRecordHome, however often it is stopped, or killed
// and begun again at an older heartbeat, and whatever fails: good records are
// indexed, and their entry done; a bad one stays in an open entry, with the new
// error.
func TestReprocessingBringsEveryRecordHome(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{ModeIngest, ModeDirect} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const records = 300
				p, random := newPipeline(t), rand.New(rand.NewPCG(5, 6))
				p.bad = func(id string) bool { return len(id) > 0 && id[len(id)-1] == '7' }
				for n := 0; n < records; {
					var run [][]byte
					for range 1 + random.IntN(5) {
						if n < records {
							run = append(run, made.Record(n))
							n++
						}
					}
					p.giveUp(n-len(run), "document_parsing_exception", run...)
				}
				p.fickle = true
				p.bucket.SetFickle(true)
				progress := ReprocessProgress{}
				for calls := 0; !progress.Done; calls++ {
					if calls == 300 {
						t.Fatalf("it is still at %+v", progress)
					}
					after, err := p.run(ReprocessCall{Mode: mode, Run: "1", Progress: progress}, time.Duration(random.IntN(60_000))*time.Millisecond)
					p.conserved(records)
					if after.Stopped != "" {
						t.Fatalf("it stopped: %+v", after)
					}
					if err == nil && random.IntN(3) > 0 { // else it was killed, and its last heartbeat is forgotten
						progress = after
					}
				}
				p.shard.Wait()
				open := p.places()
				for n := range records {
					id := fmt.Sprint(n)
					if bad := p.bad(id); bad != (open[id] > 0) || bad == (p.docs[made.DocOf(n)] > 0) {
						t.Errorf("record %s, bad %t: in %d open entries, created %d times", id, bad, open[id], p.docs[made.DocOf(n)])
					}
				}
				for key, e := range p.entries() {
					if !slices.ContainsFunc(e.Records, func(r ledger.Record) bool { return p.bad(r.ID) }) {
						t.Errorf("%s is open without a bad record", key)
					}
					for _, r := range e.Records {
						if r.Ended == "" && r.Error.Type != "still_bad" {
							t.Errorf("%s has record %s with the error %s", key, r.ID, r.Error.Type)
						}
					}
				}
			})
		})
	}
}

// entries are those that are open.
func (p *pipeline) entries() map[string]ledger.Entry {
	p.t.Helper()
	defer p.bucket.SetFickle(p.bucket.SetFickle(false))
	all := map[string]ledger.Entry{}
	for key, err := range p.ledger.List(context.Background(), ledger.Filter{}) {
		if err != nil {
			p.t.Fatal(err)
		}
		if all[key], err = p.ledger.Get(context.Background(), key); err != nil {
			p.t.Fatal(err)
		}
	}
	return all
}

// TestReprocessingCountsWhatItDoes when nothing fails, and does nothing twice.
func TestReprocessingCountsWhatItDoes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{ModeIngest, ModeDirect} {
		synctest.Test(t, func(t *testing.T) {
			p := newPipeline(t)
			p.bad = func(id string) bool { return id == "3" }
			p.giveUp(0, "odd", made.Record(0), made.Record(1))
			p.giveUp(2, "odd", made.Record(2), made.Record(3))
			p.giveUp(4, "odd", []byte("not ours"))
			p.docs[made.DocOf(1)] = 1 // it was indexed since
			got, err := p.run(ReprocessCall{Mode: mode, Run: "1"}, time.Hour)
			want := ReprocessCounts{Entries: 3, Records: 5, Indexed: 2, Already: 1, Refused: 2, Resolved: 1}
			if mode == ModeIngest { // the refused one has an entry of its own
				want.Resolved = 2
			}
			if err != nil || !got.Done || got.Counts != want {
				t.Errorf("%s: %+v, %v", mode, got, err)
			}
			if mode == ModeIngest && (p.puts["0"] != 1 || p.puts["1"] != 0 || p.puts["3"] != 1) {
				t.Errorf("into the stream went %v", p.puts)
			}
			// Again: there is nothing left but what is bad.
			again, err := p.run(ReprocessCall{Mode: mode, Run: "2"}, time.Hour)
			if err != nil || again.Counts.Records != 2 || again.Counts.Refused != 2 || len(p.docs) != 3 {
				t.Errorf("%s again: %+v, %v", mode, again, err)
			}
			open := p.places()
			if len(p.entries()) != 2 || open["3"] != 1 {
				t.Errorf("%s: open is %v", mode, p.entries())
			}
		})
	}
}

// TestReprocessingStopsBeforeItFloodsAShard: a mapping that was not mended
// refuses all of it, and half of what opens a shard's circuit is enough to know.
func TestReprocessingStopsBeforeItFloodsAShard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipeline(t)
		p.bad = func(string) bool { return true }
		for n := range 300 {
			p.giveUp(n, "odd", made.Record(n))
		}
		got, err := p.run(ReprocessCall{Mode: ModeIngest, Run: "1"}, time.Hour)
		if err != nil || got.Stopped == "" || got.Done || got.Counts.Refused != firstPortion || len(p.puts) != firstPortion {
			t.Errorf("%+v, %v; %d were ingested", got, err, len(p.puts))
		}
		p.conserved(300)
		// Mended, all of it comes home, and faster and faster.
		p.bad = func(string) bool { return false }
		got, err = p.run(ReprocessCall{Mode: ModeIngest, Run: "2"}, time.Hour)
		if err != nil || !got.Done || got.Counts.Indexed != 300 || len(p.entries()) > 0 || got.Portion <= firstPortion {
			t.Errorf("%+v, %v; %d entries are open", got, err, len(p.entries()))
		}
	})
}

// TestLostRecordsStayOpen: ranges that are trimmed, and have no payload, are
// listed. What the stream still has of those without payload is fetched.
func TestLostRecordsStayOpen(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{ModeIngest, ModeDirect} {
		synctest.Test(t, func(t *testing.T) {
			p := newPipeline(t)
			lost := func(first, last, count int) string {
				cause := outcome.Error{Type: outcome.TypePossibleLoss, Reason: "trimmed"}
				key, err := p.ledger.Add(t.Context(), ledger.Entry{Kind: ledger.Loss, Cause: &cause, At: deadletter.Now(), Range: made.Range(made.Sequence(first), made.Sequence(last), count)})
				if err != nil {
					t.Fatal(err)
				}
				return key
			}
			keep := func(n int) {
				p.kept[made.Sequence(n)] = stream.Record{Sequence: made.Sequence(n), Data: made.Record(n)}
			}
			trimmed, front, unknown := lost(0, 4, 5), lost(10, 12, 2), lost(20, 21, 0)
			keep(12) // of the second, what comes behind the two that are gone
			keep(21)
			there := lost(30, 31, 2)
			keep(30)
			keep(31)
			bare, err := p.ledger.Add(t.Context(), ledger.Entry{Kind: ledger.Bulk, At: deadletter.Now(), Range: made.Range(made.Sequence(40), made.Sequence(41), 2), Records: []ledger.Record{
				{Sequence: made.Sequence(40), Error: outcome.Error{Type: "odd"}}, {Sequence: made.Sequence(41), Error: outcome.Error{Type: "odd"}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			keep(41)
			for run := range 2 { // also when it is tried again
				got, err := p.run(ReprocessCall{Mode: mode, Run: fmt.Sprint(run)}, time.Hour)
				listed := slices.Sorted(slices.Values(got.Unrecoverable))
				if want := slices.Sorted(slices.Values([]string{trimmed, front, unknown, bare})); err != nil || !got.Done || !slices.Equal(listed, want) {
					t.Errorf("%s: unrecoverable are %v, %v", mode, listed, err)
				}
				if run == 0 && (got.Counts.Unrecoverable != 5+2+1+1 || got.Counts.Indexed != 3 || got.Counts.Resolved != 1) {
					t.Errorf("%s: %+v", mode, got.Counts)
				}
			}
			open := p.entries()
			if len(open) != 4 || open[there].Kind != "" || open[trimmed].Reprocessing.Error.Type != "unrecoverable" {
				t.Errorf("%s: open are %+v", mode, open)
			}
			if p.docs[made.DocOf(30)] != 1 || p.docs[made.DocOf(31)] != 1 || p.docs[made.DocOf(41)] != 1 || len(p.docs) != 3 {
				t.Errorf("%s: indexed are %v", mode, p.docs)
			}
		})
	}
}

// TestReprocessingTakesOnlyTheSelection, also of one entry.
func TestReprocessingTakesOnlyTheSelection(t *testing.T) {
	t.Parallel()
	for name, selection := range map[string]func(keys []string) ledger.Selection{
		"error":      func([]string) ledger.Selection { return ledger.Selection{Error: "is so", ErrorType: "odd"} },
		"error text": func([]string) ledger.Selection { return ledger.Selection{Error: "od"} },
		"keys":       func(keys []string) ledger.Selection { return ledger.Selection{Keys: keys[:1]} },
		"time":       func([]string) ledger.Selection { return ledger.Selection{To: time.Now().Add(-30 * time.Minute)} },
		"shard": func([]string) ledger.Selection {
			return ledger.Selection{Stream: "telemetry", Shard: made.Range("", "", 0).Shard, ErrorType: "odd"}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPipeline(t)
			keys := []string{p.giveUp(0, "odd", made.Record(0), made.Record(1))}
			time.Sleep(time.Hour)
			keys = append(keys, p.giveUp(2, "other", made.Record(2)))
			got, err := p.run(ReprocessCall{Mode: ModeDirect, Run: "1", Select: selection(keys)}, time.Hour)
			if err != nil || !got.Done || got.Counts.Indexed != 2 || got.Counts.Resolved != 1 || len(p.docs) != 2 || len(p.entries()) != 1 {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPipeline(t)
		mixed := ledger.Entry{Kind: ledger.Bulk, At: deadletter.Now(), Range: made.Range("1", "2", 2), Records: []ledger.Record{
			ledger.NewRecord(made.Record(0), outcome.Error{Type: "odd"}), ledger.NewRecord(made.Record(1), outcome.Error{Type: "other"}),
		}}
		key, err := p.ledger.Add(t.Context(), mixed)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.run(ReprocessCall{Mode: ModeDirect, Run: "1", Select: ledger.Selection{ErrorType: "odd"}}, time.Hour)
		e := p.entries()[key]
		if err != nil || got.Counts.Indexed != 1 || got.Counts.Resolved != 0 || e.Records[0].Ended == "" || e.Records[1].Ended != "" {
			t.Errorf("of a mixed entry: %+v, %+v", got, e)
		}
		got, err = p.run(ReprocessCall{Mode: ModeDirect, Run: "2"}, time.Hour)
		if err != nil || got.Counts.Records != 1 || got.Counts.Resolved != 1 || len(p.entries()) > 0 {
			t.Errorf("of the rest of it: %+v, %v", got, err)
		}
	})
}

func TestADryRunChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipeline(t)
		for n := range 20 {
			p.giveUp(10*n, "odd", made.Record(10*n), made.Record(10*n+1))
		}
		p.docs[made.DocOf(0)] = 1
		writes := p.bucket.Writes()
		got, err := p.run(ReprocessCall{Mode: ModeIngest, DryRun: true, Run: "1"}, time.Hour)
		want := ReprocessCounts{Entries: 20, Records: 40, Already: 1, Bytes: got.Counts.Bytes}
		if err != nil || !got.Done || got.Counts != want || got.Counts.Bytes < 40*100 || got.Seconds <= 0 {
			t.Errorf("%+v, %v", got, err)
		}
		if len(got.Errors) != 1 || got.Errors[0].Records != 40 || got.Errors[0].Error != "odd" || got.Errors[0].Example == "" {
			t.Errorf("its errors are %+v", got.Errors)
		}
		if p.bucket.Writes() != writes || len(p.puts) > 0 || len(p.docs) != 1 {
			t.Errorf("it wrote %d times, ingested %v, indexed %v", p.bucket.Writes()-writes, p.puts, p.docs)
		}
	})
}

// TestUnsettledRecordsStayOpen while a shard stands still.
func TestUnsettledRecordsStayOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipeline(t)
		p.stands = true
		key := p.giveUp(0, "odd", made.Record(0))
		got, err := p.run(ReprocessCall{Mode: ModeIngest, Run: "1", Settle: time.Minute}, time.Hour)
		e := p.entries()[key]
		if err != nil || !got.Done || got.Counts.Unsettled != 1 || got.Counts.Resolved != 0 || e.Reprocessing.Error.Type != "unsettled" {
			t.Errorf("%+v, %v; the entry is %+v", got, err, e.Reprocessing)
		}
	})
}

func TestReprocessingLeavesHeldRecordsToTheirBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipeline(t)
		p.running["batch/1"] = true
		_, err := p.ledger.Add(t.Context(), ledger.Entry{
			Kind: ledger.Bulk, At: deadletter.Now(), Range: made.Range("1", "1", 1), Held: &ledger.Holder{By: "batch/1", Run: "r"},
			Records: []ledger.Record{ledger.NewRecord(made.Record(0), outcome.Error{Type: "odd"})},
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.run(ReprocessCall{Mode: ModeDirect, Run: "1"}, time.Hour)
		if err != nil || got.Counts.Held != 1 || got.Counts.Records != 0 || len(p.docs) > 0 {
			t.Errorf("while it runs: %+v, %v", got, err)
		}
		p.running["batch/1"] = false // it was terminated
		got, err = p.run(ReprocessCall{Mode: ModeDirect, Run: "2"}, time.Hour)
		if err != nil || got.Counts.Indexed != 1 || len(p.entries()) > 0 {
			t.Errorf("when it is gone: %+v, %v", got, err)
		}
	})
}

// TestPoisonDoesNotBlockItsNeighbours when it is written directly, not even
// when it has whole requests refused.
func TestPoisonDoesNotBlockItsNeighbours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipeline(t)
		p.fickle = true
		p.bad = func(id string) bool { return id == "13" || id == "14" }
		for n := range 60 {
			p.giveUp(n, "odd", made.Record(n))
		}
		got, err := p.run(ReprocessCall{Mode: ModeDirect, Run: "1"}, time.Hour)
		if err != nil || got.Counts.Refused != 2 || got.Counts.Indexed+got.Counts.Already != 58 || len(p.entries()) != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
