package recovery

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"millrace/activities/process"
	"millrace/internal/archive"
	"millrace/internal/delay"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

func taking(seconds float64) liveTraffic {
	return liveTraffic{LiveDelay: process.LiveDelay{Records: 100, Seconds: seconds}}
}

// TestASweepGivesWay has a sweep share a server that takes the longer for live
// records the more the sweep does: twice as long at a share of one half.
func TestASweepGivesWay(t *testing.T) {
	t.Parallel()
	const normal = 0.4
	now := time.Unix(1_795_392_000, 0)
	look := func(p *YieldPolicy, seconds float64) {
		now = now.Add(lookLive)
		p.learn(taking(seconds), now)
	}
	under := func(share float64) float64 { return normal * (1 + 2*share) }
	p := YieldPolicy{}.from(Plan{Normal: normal})
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
	for range 60 { // no live record waits any more
		p.learn(liveTraffic{}, now)
	}
	if p.Worked = 1; p.Share != 1 || p.rested(0) != 0 || p.Worked != 0 || p.records() != yieldRecords {
		t.Errorf("alone it is %+v", p)
	}
	if look(&p, 10*normal); p.Share != 0.5 {
		t.Errorf("once live records wait it is %+v", p)
	}
	if look(&p, 10*normal); p.Share != 0.5 {
		t.Errorf("for the same delay it has given way twice: %+v", p)
	}
	for now = now.Add(delay.RecentWindow); p.Share > leastShare; now = now.Add(delay.RecentWindow) {
		look(&p, 10*normal)
	}
	p.Worked = 1
	if rest := p.rested(0).Round(time.Millisecond); p.records() != leastRecords || rest != 99*time.Second {
		t.Errorf("at the least it has bulks of %d records and rests %s: %+v", p.records(), rest, p)
	}
}

// TestBulksOfASweepAreShort: of a server that takes 2 ms for a record, a live
// one that takes 0.4 s waits for less than a quarter of that.
func TestBulksOfASweepAreShort(t *testing.T) {
	t.Parallel()
	p := YieldPolicy{Share: 1, Normal: 0.4, Live: 0.4}
	for range 20 {
		n := p.records()
		follow(&p.Record, time.Duration(n)*2*time.Millisecond, n)
	}
	if n := p.records(); n < 30 || n > 50 {
		t.Errorf("a bulk has %d records: %+v", n, p)
	}
	if p.Live = 0; p.records() != yieldRecords {
		t.Errorf("where no live record waits a bulk has %d records", p.records())
	}
}

// TestWhatIsNormalIsLearned: while the sweep hardly works, the delay it sees is
// normal, be it more or less than before.
func TestWhatIsNormalIsLearned(t *testing.T) {
	t.Parallel()
	for _, before := range []float64{0, 0.2, 5} {
		p, now := YieldPolicy{}.from(Plan{Normal: before}), time.Unix(1_795_392_000, 0)
		for range 200 {
			now = now.Add(lookLive)
			p.learn(taking(1), now)
		}
		if p.Normal < 0.8 || p.Normal > 1.1 || p.Share < 0.5 {
			t.Errorf("where %g s were normal before, it comes to %+v", before, p)
		}
	}
}

// TestStalledTrafficIsNotIdle: of a worker that has indexed nothing lately it is
// the lag of its shards that tells whether live records wait.
func TestStalledTrafficIsNotIdle(t *testing.T) {
	t.Parallel()
	fine := process.Progress{Worker: "a", Live: process.LiveDelay{Records: 10, Seconds: 0.5}}
	behind := func(seconds float64) process.Progress { return process.Progress{Worker: "b", LagSeconds: seconds} }
	for name, c := range map[string]struct {
		said   []process.Progress
		share  float64 // of 0.5, after a look
		normal float64 // of what is not known before
	}{
		"none":                       {nil, 0.75, 0},
		"idle":                       {[]process.Progress{behind(0.4), behind(1.5)}, 0.75, 0},
		"between two calls":          {[]process.Progress{behind(0.4), {}}, 0.51, 0},
		"idle, or about to stall":    {[]process.Progress{behind(0.4), behind(5)}, 0.51, 0},
		"stalled":                    {[]process.Progress{behind(30), behind(0.4)}, 0.25, leastNormal},
		"some flow, some stall":      {[]process.Progress{fine, behind(30)}, 0.25, leastNormal},
		"some flow, some are silent": {[]process.Progress{fine, {}}, 0.51, 0.5},
		"a backlog flows":            {[]process.Progress{{Worker: "a", Live: fine.Live, LagSeconds: 300}}, 0.51, 0.5},
	} {
		shards := &talking{said: c.said}
		live, err := (&Sweeper{Shards: shards, Workflows: shards}).liveDelay(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := YieldPolicy{Share: 0.5, Normal: 0.5}
		p.learn(live, time.Unix(1_795_392_000, 0))
		unknown := YieldPolicy{Share: 0.5}
		unknown.learn(live, time.Unix(1_795_392_000, 0))
		if p.Share != c.share || unknown.Normal != c.normal {
			t.Errorf("%s: it is %+v, and learns %+v", name, p, unknown)
		}
	}

	// What goes on while the sweep does its least is not for its sake: it does not
	// wait for ever for shards that others keep from getting on.
	p, now, worked := YieldPolicy{}.from(Plan{}), time.Unix(1_795_392_000, 0), 0.0
	const looks = 3600
	for n := range looks {
		now = now.Add(lookLive)
		p.learn(liveTraffic{Stalled: 10 + float64(n)}, now)
		worked += p.Share
	}
	if worked < 0.1*looks {
		t.Errorf("beside shards that stand still for an hour it works %.2f of the time: %+v", worked/looks, p)
	}
}

// talking are shards that say this of themselves.
type talking struct {
	StreamShards
	StreamWorkflows
	said []process.Progress
}

func (s *talking) Shards(context.Context) ([]stream.Shard, error) {
	shards := []stream.Shard{{ID: "not running"}}
	for n := range s.said {
		shards = append(shards, stream.Shard{ID: string(rune('a' + n))})
	}
	return shards, nil
}

func (s *talking) Live(_ context.Context, _ telemetry.StreamID, shard string) (said process.Progress, running bool, err error) {
	if shard == "not running" {
		return said, false, nil
	}
	return s.said[shard[0]-'a'], true, nil
}

// sluggish is a backup of one object, and a slow Elasticsearch that notes when it
// was given work. All documents are there.
type sluggish struct {
	Bucket
	SweptDocuments
	text        []byte
	index, look time.Duration // that a record takes
	began       []time.Time
	sizes       []int
	busy        time.Duration
}

func newSluggish(records int) *sluggish {
	s := &sluggish{index: 10 * time.Millisecond, look: time.Millisecond}
	for n := range records {
		s.text = append(append(s.text, made.Record(n)...), '\n')
	}
	return s
}

func (s *sluggish) Read(context.Context, string) (io.ReadCloser, archive.Object, error) {
	return io.NopCloser(bytes.NewReader(s.text)), archive.Object{Size: int64(len(s.text))}, nil
}

func (s *sluggish) Meta(context.Context, string) (map[string]string, error) { return nil, nil }

func (s *sluggish) Put(context.Context, string, []byte) error { return nil }

func (s *sluggish) works(each time.Duration, records int) {
	took := time.Duration(records) * each
	s.began, s.sizes, s.busy = append(s.began, time.Now()), append(s.sizes, records), s.busy+took
	time.Sleep(took)
}

func (s *sluggish) Do(_ context.Context, b *sink.Bulk) sink.Result {
	s.works(s.index, b.Len())
	return sink.Result{}
}

func (s *sluggish) Find(_ context.Context, documents []sink.Reference) ([]sink.Found, error) {
	s.works(s.look, len(documents))
	found := make([]sink.Found, len(documents))
	for n := range found {
		found[n].There = true
	}
	return found, nil
}

// sweep is a call that goes through the object.
func (s *sluggish) sweep(t *testing.T, stage string, from SweepProgress) *sweep {
	sweeper := &Sweeper{Bucket: s, Backups: s, Documents: s, Limiter: limiter.New(0, 0)}
	plan := Plan{Prefix: "backup/", Suffix: "copy"}
	return newSweep(t.Context(), t.Context(), sweeper, SweepInput{Stage: stage}, plan, []Listed{{Key: "backup/x", Whole: true}}, from)
}

// TestARestIsKeptInFull: a sweep that may work a hundredth of the time rests 99
// times as long as it has worked, in the next call if its own is over; but not
// longer than live traffic needs it to.
func TestARestIsKeptInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSluggish(100)
		call := s.sweep(t, SweepBackfill, SweepProgress{Pace: YieldPolicy{Share: 0.01, Normal: 0.4, Live: 0.4}})
		defer call.call.Abandon()
		began := time.Now()
		time.AfterFunc(50*time.Second, func() { call.call.Stop(longcall.ErrDue) }) // in the third rest
		call.sweep()
		const least = 20 * time.Second // of which it works for 0.2 s
		for n, at := range s.began {
			if off := at.Sub(began) - time.Duration(n)*least; off.Abs() > time.Millisecond {
				t.Errorf("bulk %d began %s off", n, off)
			}
		}
		got := call.state()
		if took := time.Since(began); took != 50*time.Second || len(s.began) != 3 || got.Counts.Indexed != 60 {
			t.Fatalf("told to stop after 50 s it took %s, and has indexed %d in %d bulks", took, got.Counts.Indexed, len(s.began))
		}

		next := s.sweep(t, SweepBackfill, got)
		defer next.call.Abandon()
		again := time.Now()
		time.AfterFunc(12*time.Second, func() { // in the rest behind the fourth bulk
			next.mu.Lock()
			defer next.mu.Unlock()
			next.done.Pace.Share = 1
		})
		next.sweep()
		if len(s.began) != 5 || !next.state().Done {
			t.Fatalf("there are %d bulks, it is at %+v", len(s.began), next.state())
		}
		if rest := s.began[3].Sub(again); (rest - 10*time.Second).Abs() > time.Second {
			t.Errorf("it has rested %s in the next call, of 10 s that were left", rest)
		}
		if at := s.began[4].Sub(again); at < 12*time.Second || at > 12*time.Second+lookLive {
			t.Errorf("where no live record waits after 12 s it goes on after %s", at)
		}
	})
}

// TestVerifyGivesWay: also where all is there, and nothing is to be indexed.
func TestVerifyGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSluggish(1000)
		call := s.sweep(t, SweepVerify, SweepProgress{Pace: YieldPolicy{Share: 0.05, Normal: 0.4, Live: 0.4}})
		defer call.call.Abandon()
		began := time.Now()
		call.sweep()
		got, took := call.state(), time.Since(began)
		if got.Counts.Duplicates != 1000 || !got.Done {
			t.Fatalf("it is at %+v", got)
		}
		if share := s.busy.Seconds() / took.Seconds(); share > 0.06 || share < 0.04 {
			t.Errorf("in %s it works %.3f of the time", took, share)
		}
		if got.Pace.Look < 0.0009 || got.Pace.Look > 0.0011 || got.Pace.Record != 0 {
			t.Errorf("of look-ups that take 1 ms a record it learns %+v", got.Pace)
		}
		if n := s.sizes[len(s.sizes)-2]; n != 80 { // a fifth of what is normal
			t.Errorf("it looks %d records up at once", n)
		}

		s = newSluggish(200) // they are quickly looked up, but any of them may have to be indexed
		call = s.sweep(t, SweepVerify, SweepProgress{Pace: YieldPolicy{Share: 0.5, Normal: 1, Live: 1, Record: 0.005}})
		defer call.call.Abandon()
		call.sweep()
		if s.sizes[0] != 40 || call.state().Pace.Record != 0.005 {
			t.Errorf("of records that take 5 ms to index it takes %d at once, and then is %+v", s.sizes[0], call.state().Pace)
		}
	})
}
