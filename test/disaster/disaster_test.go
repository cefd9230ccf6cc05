package main

import (
	"testing"
	"time"

	"millrace/internal/load"
	"millrace/test/kit/tap"
)

// All indices are deleted and restored, although the recovery is paused and its
// worker killed. ./task disaster runs the other scenarios. The limit makes the backfill
// last for several heartbeats, by which it is seen how far that is.
func TestRecoverUndoesASmallDisaster(t *testing.T) {
	o := options{Only: []string{"disaster"}, Records: 2400, Rate: 60, Steady: 3 * time.Second, Limit: 100, Patience: 5 * time.Minute}
	if err := run(t.Context(), o); err != nil {
		t.Error(err)
	}
}

func TestTrafficRecordsWhenRecordsWereSaved(t *testing.T) {
	t.Parallel()
	traffic := newTraffic("run", time.Unix(0, 0), load.Settings{URL: "http://127.0.0.1:1", Records: 1})
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	bad := uint64(0)
	for !traffic.Source.Bad(bad) {
		bad++
	}
	for n, j := range map[uint64][2]int{0: {10, 20}, 1: {11, 30}, 2: {25, 27}, bad: {12, 0}} {
		traffic.Answered(n, at(j[0]-1), at(j[0]))
		if j[1] > 0 {
			traffic.saved(tap.Saved{ID: traffic.Source.ID(n), At: at(j[1])})
			traffic.saved(tap.Saved{ID: traffic.Source.ID(n), At: at(j[1] + 50), Before: true}) // once more
		}
	}
	traffic.saved(tap.Saved{ID: "another-1", At: at(99)})
	if left := traffic.unsaved(); left != 0 {
		t.Errorf("%d are not saved: a bad one never is", left)
	}
	if taken, spans := traffic.savedBy(at(28), ""), traffic.savedBy(at(28), traffic.Source.Type(0)); taken != 2 || spans == 0 {
		t.Errorf("%d were there, %d of a type", taken, spans)
	}
	if accepted := traffic.acceptedBy(at(12)); accepted.Len() != 2 || !accepted.Has(1) {
		t.Errorf("%d had been accepted", accepted.Len())
	}
	if up := traffic.caughtUp(at(20)); !up.Equal(at(30)) {
		t.Errorf("caught up at %v", up)
	}
	if up := traffic.caughtUp(at(5)); !up.Equal(at(5)) {
		t.Errorf("caught up with nothing at %v", up)
	}
	if h := traffic.delays(at(10), at(25)); h.Count() != 2 || h.Max() != 20*time.Second {
		t.Errorf("%d delays, up to %v", h.Count(), h.Max())
	}
	traffic.Answered(3, at(40), at(41))
	if h := traffic.delays(at(40), at(50)); h.Count() != 1 || h.Max() < time.Hour || traffic.unsaved() != 1 {
		t.Errorf("what is not there has a delay of %v", h.Max())
	}
}

func TestFiguresFailABackfillThatDelaysLiveRecords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, backfill, after int64
		fails                   bool
	}{
		{700, 1400, 600, false}, {700, 1401, 600, true}, {700, 1700, 900, false}, {700, 1801, 900, true},
		{40, 1000, 30, false}, {40, 1001, 30, true}, // less than 500 ms is noise
	} {
		f := figures{result: result{LiveP99MsBefore: c.before, LiveP99MsBackfill: c.backfill, LiveP99MsAfter: c.after}}
		if err := f.gaveWay(); (err != nil) != c.fails {
			t.Errorf("of %+v it says %v", c, err)
		}
	}
}

func TestOptionsChooseScenariosByName(t *testing.T) {
	t.Parallel()
	if all, err := choose(nil); err != nil || len(all) != len(scenarios) {
		t.Errorf("%d scenarios, %v", len(all), err)
	}
	if some, err := choose([]string{"one-index", "disaster"}); err != nil || len(some) != 2 || some[1].name != "disaster" {
		t.Errorf("%v, %v", some, err)
	}
	o := options{Only: []string{"nothing"}, Records: 2000, Rate: 1, Steady: time.Second, Patience: time.Second}
	if o.Validate() == nil {
		t.Error("an unknown scenario is accepted")
	}
	if o.Only = nil; o.Validate() != nil {
		t.Error(o.Validate())
	}
	if o.Records = 10; o.Validate() == nil {
		t.Error("a disaster of ten records is accepted")
	}
}
