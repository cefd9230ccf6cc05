package audit

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"millrace/internal/backup"
)

func sampleOf(run string, r Request, shards, each int) (*sample, []chosen) {
	s := newSample(run, r)
	for shard := range shards {
		of := backup.Shard{Stream: "s", ID: fmt.Sprintf("shardId-%d", shard)}
		for n := range each {
			s.add(backup.Object{Key: fmt.Sprintf("dt=2026-11-23/hour=13/s-1-%s-%d.json.gz", of.ID, n)}, of)
		}
	}
	return s, s.chosen()
}

func TestSampleHasItsShareAndEveryShard(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		share       float64
		least, most int
	}{{1, 20_000, 20_000}, {0.1, 1800, 2200}, {0.01, 140, 260}, {1e-9, 20, 20}} {
		_, all := sampleOf("run", Request{Share: c.share}, 20, 1000)
		if len(all) < c.least || len(all) > c.most {
			t.Errorf("a share of %v has %d of 20000 objects", c.share, len(all))
		}
		seen, shards := map[string]bool{}, map[string]bool{}
		for n, one := range all {
			if seen[one.Key] || n > 0 && one.turn < all[n-1].turn {
				t.Fatalf("%s is there twice, or out of turn", one.Key)
			}
			seen[one.Key], shards[one.shard.ID] = true, true
		}
		if len(shards) != 20 {
			t.Errorf("a share of %v has objects of %d of 20 shards", c.share, len(shards))
		}
	}
}

// The calls of a run choose alike; another run chooses others.
func TestSampleIsThatOfItsRun(t *testing.T) {
	t.Parallel()
	keys := func(run string) (text string) {
		_, all := sampleOf(run, Request{Share: 0.01}, 2, 1000)
		for _, one := range all {
			text += one.Key + " "
		}
		return text
	}
	first, again, other := keys("a"), keys("a"), keys("b")
	if first != again || first == other {
		t.Errorf("the samples are\n%s\n%s\n%s", first, again, other)
	}
}

func TestSampleIsBounded(t *testing.T) {
	t.Parallel()
	s, all := sampleOf("run", Request{All: true}, 1, 2*mostChosen+1)
	if len(all) != mostChosen || s.left != mostChosen+1 {
		t.Errorf("it has %d objects, and leaves out %d", len(all), s.left)
	}
}

func TestRequestsAreFilledAndChecked(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	want := Request{
		Share: DefaultShare, Since: start.Add(-time.Hour), Within: DefaultWithin, Grace: DefaultGrace,
		Objects: DefaultObjects, Bytes: DefaultBytes, Records: DefaultRecords, Rate: DefaultRate,
	}
	if got := (Request{}).WithDefaults(start); got != want || got.Validate() != nil {
		t.Errorf("an empty request is %+v, %v", got, got.Validate())
	}
	if got := (Request{All: true, Objects: 7}).WithDefaults(start); got.Objects != 7 || got.Bytes < math.MaxInt64/4 || got.Records < math.MaxInt64/4 {
		t.Errorf("a request for all is %+v", got)
	}
	for name, bad := range map[string]Request{
		"share": {Share: 1.1}, "less": {Share: -0.1}, "rate": {Rate: 1}, "within": {Within: -1}, "grace": {Grace: model.Duration(-1)},
		"objects": {Objects: -1}, "bytes": {Bytes: -1}, "records": {Records: -1}, "both": {All: true, Share: 0.5},
	} {
		if bad.Validate() == nil {
			t.Errorf("%s: %+v passes", name, bad)
		}
	}
}
