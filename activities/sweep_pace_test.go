package activities

import (
	"testing"
	"time"

	"millrace/internal/delay"
)

// TestASweepGivesWay has a sweep share a server that takes the longer for live
// records the more the sweep does: twice as long at a share of one half.
func TestASweepGivesWay(t *testing.T) {
	t.Parallel()
	const normal = 0.4
	now := time.Unix(1_795_392_000, 0)
	look := func(p *Pace, seconds float64) {
		now = now.Add(lookLive)
		p.learn(LiveDelay{Records: 100, Seconds: seconds}, now)
	}
	under := func(share float64) float64 { return normal * (1 + 2*share) }
	p := Pace{}.from(Plan{Normal: normal})
	for range 30 { // live traffic catches up with what came during the pause
		look(&p, 20)
	}
	if p.Share != leastShare || p.Normal > 2*normal {
		t.Errorf("while live traffic catches up it is %+v", p)
	}
	for range 30 {
		look(&p, under(p.Share))
	}
	worked, longest := 0.0, 0.0
	for range 600 {
		look(&p, under(p.Share))
		worked, longest = worked+p.Share, max(longest, under(p.Share))
	}
	if longest > 2*normal {
		t.Errorf("live records take %.2f s, %.2f are normal: %+v", longest, normal, p)
	}
	if worked/600 < 0.08 {
		t.Errorf("it works %.2f of the time: %+v", worked/600, p)
	}
	for range 60 { // nobody waits any more
		p.learn(LiveDelay{}, now)
	}
	if p.Share != 1 || p.rest(time.Second) != 0 || p.records() != yieldRecords {
		t.Errorf("alone it is %+v", p)
	}
	if look(&p, 10*normal); p.Share != 0.5 {
		t.Errorf("once somebody waits it is %+v", p)
	}
	if look(&p, 10*normal); p.Share != 0.5 {
		t.Errorf("for the same delay it has given way twice: %+v", p)
	}
	for now = now.Add(delay.RecentWindow); p.Share > leastShare; now = now.Add(delay.RecentWindow) {
		look(&p, 10*normal)
	}
	if p.records() != leastRecords || p.rest(time.Second) != 99*time.Second {
		t.Errorf("at the least it has bulks of %d records and rests %s: %+v", p.records(), p.rest(time.Second), p)
	}
}

// TestBulksOfASweepAreShort: of a server that takes 2 ms for a record, a live
// one that takes 0.4 s waits for less than a quarter of that.
func TestBulksOfASweepAreShort(t *testing.T) {
	t.Parallel()
	p := Pace{Share: 1, Normal: 0.4, Live: 0.4}
	for range 20 {
		n := p.records()
		p.worked(time.Duration(n)*2*time.Millisecond, n)
	}
	if n := p.records(); n < 30 || n > 50 {
		t.Errorf("a bulk has %d records: %+v", n, p)
	}
	if p.Live = 0; p.records() != yieldRecords {
		t.Errorf("where nobody waits a bulk has %d records", p.records())
	}
}

// TestWhatIsNormalIsLearned: while the sweep hardly works, what is seen is
// normal, be it more or less than before.
func TestWhatIsNormalIsLearned(t *testing.T) {
	t.Parallel()
	for _, before := range []float64{0, 0.2, 5} {
		p, now := Pace{}.from(Plan{Normal: before}), time.Unix(1_795_392_000, 0)
		for range 200 {
			now = now.Add(lookLive)
			p.learn(LiveDelay{Records: 100, Seconds: 1}, now)
		}
		if p.Normal < 0.8 || p.Normal > 1.1 || p.Share < 0.5 {
			t.Errorf("where %g s were normal before, it comes to %+v", before, p)
		}
	}
}
