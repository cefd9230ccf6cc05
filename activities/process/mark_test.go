package process

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"millrace/internal/indexing"
	"millrace/internal/telemetry"
)

// TestMarkFollowsItsModel ends stretches in random order and holds the mark
// against the plain rule: it stands behind the last stretch of which all
// before it, and itself, have ended.
func TestMarkFollowsItsModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		begin := telemetry.Checkpoint{Sequence: "7", ReadUpTo: time.Unix(7, 0)}
		m := newMark(begin, indexing.Counts{Records: 5})
		type modelled struct {
			s     *stretch
			end   telemetry.Checkpoint
			count int64
			ended bool
		}
		var all []*modelled
		for step := range 200 {
			if random.IntN(2) == 0 {
				end := telemetry.Checkpoint{ReadUpTo: time.Unix(int64(10+step), 0)}
				if random.IntN(4) > 0 { // else only time has passed
					end.Sequence = fmt.Sprint(100 + step)
				}
				all = append(all, &modelled{s: m.begin(end), end: end, count: int64(random.IntN(9))})
			} else if len(all) > 0 {
				if one := all[random.IntN(len(all))]; !one.ended {
					one.ended = true
					m.end(one.s, indexing.Counts{Records: one.count})
				}
			}
			want, count, open := begin, int64(5), false
			for _, one := range all {
				if open = !one.ended; open {
					break
				}
				if one.end.Sequence != "" {
					want.Sequence = one.end.Sequence
				}
				want.ReadUpTo = one.end.ReadUpTo
				count += one.count
			}
			state := m.state()
			if state.checkpoint != want || state.counts.Records != count {
				t.Fatalf("seed %d, step %d: the mark is %+v with %d records, not %+v with %d",
					seed, step, state.checkpoint, state.counts.Records, want, count)
			}
			if state.stuckSince.IsZero() == open {
				t.Fatalf("seed %d, step %d: open %t, stuck since %s", seed, step, open, state.stuckSince)
			}
		}
	}
}

func TestMarkIsClosedOnlyBehindTheLastRecord(t *testing.T) {
	t.Parallel()
	m := newMark(telemetry.Checkpoint{}, indexing.Counts{})
	records := m.begin(telemetry.Checkpoint{Sequence: "1"})
	m.end(m.begin(telemetry.Checkpoint{Closed: true}), indexing.Counts{})
	if m.state().checkpoint.Closed {
		t.Fatal("the mark is at the end of the shard before its last records are done")
	}
	m.end(records, indexing.Counts{})
	if state := m.state(); !state.checkpoint.Closed || state.checkpoint.Sequence != "1" {
		t.Fatalf("the mark is %+v, not at the end", state.checkpoint)
	}
}
