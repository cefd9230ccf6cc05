package limiter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// take acquires a place that must be free.
func take(t *testing.T, l *Limiter, p Priority) func(Feedback) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	release, err := l.Acquire(ctx, p)
	if err != nil {
		t.Fatalf("no place: %+v", l.State())
	}
	return release
}

func full(t *testing.T, l *Limiter, p Priority) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.Acquire(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("there is a place: %v, %+v", err, l.State())
	}
}

// round fills every place, and releases them all with the same feedback.
func round(t *testing.T, l *Limiter, f Feedback) {
	t.Helper()
	var releases []func(Feedback)
	for range l.State().Limit {
		releases = append(releases, take(t, l, Live))
	}
	for _, release := range releases {
		release(f)
	}
}

var (
	good  = Feedback{Verdict: Fine, Took: 20 * time.Millisecond, Bytes: 1 << 20}
	bad   = Feedback{Verdict: Overloaded, Took: time.Second, Bytes: 1 << 20}
	blank = Feedback{}
)

func TestConcurrencyGrowsByOneARoundTrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(6, 0)
		var limits []int
		for range 7 {
			limits = append(limits, l.State().Limit)
			round(t, l, good)
		}
		for i, limit := range limits {
			if i > 0 && (limit < limits[i-1] || limit > limits[i-1]+1) {
				t.Errorf("limits %v jump", limits)
			}
		}
		if limits[0] != startConcurrency || limits[6] != 6 || l.State().Limit != 6 {
			t.Errorf("limits %v, then %d", limits, l.State().Limit)
		}
	})
}

func TestALimitThatIsNotReachedDoesNotGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 0)
		for range 100 {
			take(t, l, Live)(good)
		}
		if got := l.State().Limit; got != startConcurrency {
			t.Errorf("one request at a time made it %d", got)
		}
	})
}

// TestALightLoadRecoversFromAnOverload: one request at a time reaches no limit, but its success says enough.
func TestALightLoadRecoversFromAnOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 0)
		for range 2 {
			take(t, l, Live)(bad)
		}
		if got := l.State().Limit; got != 1 {
			t.Fatalf("an overload leaves %d", got)
		}
		for range 100 {
			take(t, l, Live)(good)
		}
		if got := l.State().Limit; got != startConcurrency {
			t.Errorf("one request at a time made it %d again, not %d", got, startConcurrency)
		}
		// What was under way before the decrease says nothing about it.
		l = New(8, 0)
		first, second, third := take(t, l, Live), take(t, l, Live), take(t, l, Live)
		first(bad)
		second(good)
		third(good)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.limit != startConcurrency/2 {
			t.Errorf("what was sent before an overload made it %v", l.limit)
		}
	})
}

func TestARoundTripThatFailsHalvesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(16, 0)
		for l.State().Limit < 16 {
			round(t, l, good)
		}
		for _, want := range []int{8, 4, 2, 1} {
			round(t, l, bad) // sixteen failures at first
			if got := l.State().Limit; got != want {
				t.Fatalf("limit %d, want %d", got, want)
			}
		}
		// What was under way before a decrease says nothing about it.
		l = New(16, 0)
		old, young := take(t, l, Live), take(t, l, Live)
		young(bad)
		old(bad)
		if s := l.State(); s.Limit != startConcurrency/2 || s.Paused != 0 {
			t.Errorf("%+v: paid twice", s)
		}
	})
}

func TestAtOneItBacksOffInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1, 0)
		var pauses []time.Duration
		for range 10 {
			release, err := l.Acquire(t.Context(), Live) // waits out the pause
			if err != nil {
				t.Fatal(err)
			}
			full(t, l, Live) // one probe alone
			release(bad)
			pauses = append(pauses, l.State().Paused)
			full(t, l, Live)
		}
		want := shortestPause
		for i, pause := range pauses {
			if pause < want/2 || pause > want {
				t.Errorf("pause %d is %s, want %s to %s: %v", i, pause, want/2, want, pauses)
			}
			want = min(2*want, longestPause)
		}
		release, err := l.Acquire(t.Context(), Live)
		if err != nil {
			t.Fatal(err)
		}
		release(good)
		if s := l.State(); s.Paused != 0 {
			t.Errorf("it is well again, and waits: %+v", s)
		}
		take(t, l, Live)(bad)
		if got := l.State().Paused; got > shortestPause {
			t.Errorf("the next failure waits %s", got)
		}
	})
}

func TestLatencyHoldsAndShrinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(16, 0)
		for l.State().Limit < 8 {
			round(t, l, good)
		}
		slow, slower := good, good
		slow.Took, slower.Took = 2*good.Took, 6*good.Took
		for range 3 {
			round(t, l, slow)
		}
		held := l.State().Limit
		if held < 8 || held > 9 { // the smoothed latency needs a few answers
			t.Errorf("twice as slow: %d", held)
		}
		for range 20 {
			round(t, l, slower)
		}
		if got := l.State().Limit; got != startConcurrency {
			t.Errorf("six times as slow: %d", got)
		}
		// In time it takes the new latency for normal.
		for range 2000 {
			round(t, l, slower)
		}
		if got := l.State().Limit; got <= startConcurrency {
			t.Errorf("for long so slow: %d", got)
		}
	})
}

func TestBulksAreComparedWithTheirOwnSize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 0)
		small := Feedback{Verdict: Fine, Took: time.Millisecond, Bytes: 1000}
		for range 50 {
			round(t, l, small)
		}
		l.limit = 2
		for range 10 {
			round(t, l, good) // twenty times as long, and as it must be
		}
		if got := l.State().Limit; got != 8 {
			t.Errorf("large bulks hold it at %d", got)
		}
	})
}

// Eight shards send a few records each, as they come. What one bulk takes swings
// by the disk and by the indices in it, and is no reason to make the others wait.
func TestSmallBulksAreNotHeldBackByTheirLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 0)
		took := []time.Duration{5 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond}
		for i := range 100 {
			round(t, l, Feedback{Verdict: Fine, Took: took[i%len(took)], Bytes: 5000})
		}
		if got := l.State().Limit; got != 8 {
			t.Errorf("they are held at %d", got)
		}
		round(t, l, Feedback{Verdict: Overloaded, Bytes: 5000})
		if got := l.State().Limit; got != 4 {
			t.Errorf("refused, they go on at %d", got)
		}
	})
}

func TestLiveGoesFirstAndRecoveryLeavesAPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(3, 0)
		releases := []func(Feedback){take(t, l, Recovery), take(t, l, Recovery)}
		full(t, l, Recovery)
		releases = append(releases, take(t, l, Live)) // at once, though recovery is at work
		var order []Priority
		for _, p := range []Priority{Recovery, Recovery, Live, Live} {
			go func() {
				release, err := l.Acquire(t.Context(), p)
				if err == nil {
					order = append(order, p)
					release(blank)
				}
			}()
			synctest.Wait()
		}
		if s := l.State(); s.Waiting != 4 || s.InFlight != 3 {
			t.Fatalf("%+v", s)
		}
		for _, release := range releases {
			release(blank)
			synctest.Wait()
		}
		if want := []Priority{Live, Live, Recovery, Recovery}; !slices.Equal(order, want) {
			t.Errorf("went as %v", order)
		}
		l.limit = 1 // while there is one place, recovery may have it
		take(t, l, Recovery)
	})
}

func TestWhatYieldsTakesAQuarterOfThePlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(4, 0)
		releases := []func(Feedback){take(t, l, Yielding)}
		full(t, l, Yielding)
		releases = append(releases, take(t, l, Recovery))
		releases = append(releases, take(t, l, Recovery))
		full(t, l, Recovery) // beside both, live traffic still has a place
		take(t, l, Live)(blank)
		for _, release := range releases {
			release(blank)
		}
		grows := New(16, 0) // by what yields alone, too
		releases = nil
		for range grows.State().Limit / 4 {
			releases = append(releases, take(t, grows, Yielding))
		}
		for _, release := range releases {
			release(Feedback{Verdict: Fine, Took: time.Millisecond})
		}
		for range 5 {
			var releases []func(Feedback)
			for range grows.State().Limit / 4 {
				releases = append(releases, take(t, grows, Yielding))
			}
			for _, release := range releases {
				release(Feedback{Verdict: Fine, Took: time.Millisecond})
			}
		}
		if limit := grows.State().Limit; limit <= startConcurrency {
			t.Errorf("with all places taken that what yields may have, the limit stays at %d", limit)
		}
		one := New(1, 0)
		take(t, one, Yielding)(blank)
	})
}

func TestOneWhoGivesUpLeavesNoTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1, 0)
		release := take(t, l, Live)
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		go func() { _, err = l.Acquire(ctx, Live) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("gave up with %v", err)
		}
		release(blank)
		release(bad) // a second time counts for nothing
		if s := l.State(); s.Waiting != 0 || s.InFlight != 0 || s.Paused != 0 {
			t.Errorf("%+v", s)
		}
		take(t, l, Live)
	})
}

// Granted and given up at the same moment: the place must not be lost.
func TestAPlaceIsNotLostBetweenGrantAndCancel(t *testing.T) {
	t.Parallel()
	l := New(1, 0)
	for range 2000 {
		release, err := l.Acquire(t.Context(), Live)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if second, err := l.Acquire(ctx, Live); err == nil {
				second(blank)
			}
		}()
		go release(blank)
		cancel()
		<-done
	}
}

func TestBulksShrinkWhenTheyAreTooLarge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = 4 << 20
		l := New(2, most)
		tooLarge := func(bytes int) Feedback { return Feedback{Verdict: Oversized, Bytes: bytes} }
		round(t, l, tooLarge(most)) // two of them, and halved once
		if got := l.State().BulkBytes; got != most/2 {
			t.Errorf("%d", got)
		}
		take(t, l, Live)(tooLarge(1000))
		if got := l.State().BulkBytes; got != smallestBulk {
			t.Errorf("%d", got)
		}
		for range regrowth {
			take(t, l, Live)(Feedback{Verdict: Fine, Bytes: l.State().BulkBytes, Took: time.Millisecond})
		}
		if got := l.State().BulkBytes; got != most {
			t.Errorf("%d after %d full bulks", got, regrowth)
		}
		take(t, l, Live)(tooLarge(most))
		for range regrowth {
			take(t, l, Live)(Feedback{Verdict: Fine, Bytes: 100, Took: time.Millisecond})
		}
		if got := l.State().BulkBytes; got != most/2 {
			t.Errorf("%d after small bulks, which prove nothing", got)
		}
	})
}

// Concurrency goes first: bulks are halved when it is at one, once a round trip,
// and are large again after a few.
func TestBulksShrinkWhenConcurrencyCannot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = 4 << 20
		l := New(0, most)
		for l.State().Limit > 1 {
			round(t, l, bad)
			if got := l.State().BulkBytes; got != most {
				t.Fatalf("bulks of %d at a concurrency of %d", got, l.State().Limit)
			}
		}
		one := func(f Feedback) int {
			t.Helper()
			release, err := l.Acquire(t.Context(), Live) // waits out the pause
			if err != nil {
				t.Fatal(err)
			}
			release(f)
			return l.State().BulkBytes
		}
		for want := most / 2; want >= smallestBulk; want /= 2 {
			if got := one(bad); got != want {
				t.Fatalf("bulks of %d, want %d", got, want)
			}
		}
		if got := one(bad); got != smallestBulk {
			t.Errorf("bulks of %d, below the smallest", got)
		}
		if got := one(Feedback{Verdict: Fine, Bytes: 100, Took: time.Millisecond}); got != smallestBulk {
			t.Errorf("bulks of %d after a small one, which proves nothing", got)
		}
		full := func() Feedback { return Feedback{Verdict: Fine, Bytes: l.State().BulkBytes, Took: time.Millisecond} }
		if got := one(full()); got != smallestBulk+most/quickRegrowth {
			t.Errorf("bulks of %d after a full one", got)
		}
		for range quickRegrowth {
			one(full())
		}
		if got := l.State().BulkBytes; got != most {
			t.Errorf("bulks of %d after %d full ones", got, quickRegrowth)
		}
		if small := New(1, 1000); small.State().BulkBytes == 1000 {
			if take(t, small, Live)(bad); small.State().BulkBytes != 1000 {
				t.Errorf("bulks of %d, where 1000 is the most", small.State().BulkBytes)
			}
		}
		// But never beyond what a 413 allows.
		one(Feedback{Verdict: Oversized, Bytes: most})
		l.limit = 1
		one(bad)
		for range quickRegrowth {
			one(full())
		}
		if got := l.State().BulkBytes; got < most/2 || got > most/2+quickRegrowth*most/regrowth {
			t.Errorf("bulks of %d, after a 413 at %d", got, most)
		}
	})
}

// A body that times out again was too much, and so is one that takes very long
// where concurrency does not shrink any more; those that are under way together
// halve bulks once.
func TestBulksShrinkByWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	const most = 4 << 20
	slow := Feedback{Verdict: Fine, Took: 2 * slowBulk, Bytes: most}
	again := Feedback{Verdict: Overloaded, Took: 30 * time.Second, Bytes: most, TimedOutAgain: true}
	once, small := again, again
	once.TimedOutAgain, small.Bytes = false, most/8
	for name, c := range map[string]struct {
		limit float64
		f     Feedback
		want  int
	}{
		"it times out again":     {16, again, most / 2},
		"it times out once":      {16, once, most},
		"a small one, again":     {16, small, most},
		"it takes long":          {startConcurrency, slow, most / 2},
		"concurrency may shrink": {16, slow, most},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := New(16, most)
			l.limit = c.limit
			round(t, l, c.f)
			if got := l.State().BulkBytes; got != c.want {
				t.Errorf("%s: bulks of %d, want %d", name, got, c.want)
			}
		})
	}
}

func TestTheRunOfAnOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// A server that answers in 20 ms, and refuses everything for a minute.
		l := New(8, 0)
		start := time.Now()
		sick := func() bool { since := time.Since(start); return since > 10*time.Second && since < 70*time.Second }
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		var mu sync.Mutex
		refused, finished := 0, time.Time{}
		var workers sync.WaitGroup
		for range 20 {
			workers.Go(func() {
				for {
					release, err := l.Acquire(ctx, Live)
					if err != nil {
						return
					}
					time.Sleep(good.Took)
					feedback := good
					mu.Lock()
					if sick() {
						refused++
						feedback = bad
					} else if finished.IsZero() && time.Since(start) >= 70*time.Second {
						finished = time.Now()
					}
					mu.Unlock()
					release(feedback)
				}
			})
		}
		workers.Wait()
		if refused > 60 {
			t.Errorf("%d requests into a server that refuses", refused)
		}
		if late := finished.Sub(start.Add(70 * time.Second)); late > longestPause+time.Second {
			t.Errorf("noticed after %s that it is well again", late)
		}
		if s := l.State(); s.Limit != 8 || s.InFlight != 0 || s.Waiting != 0 || s.BulkBytes < good.Bytes {
			t.Errorf("at the end: %+v", s)
		}
	})
}
