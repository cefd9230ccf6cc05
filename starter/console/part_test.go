package console

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// watch runs a watch of one source, as if a page looked at it all the time or never.
func watch(t *testing.T, ask func(context.Context) (Queue, error)) *Watch {
	t.Helper()
	w := New(Settings{Stream: "s", Every: DefaultEvery, Within: DefaultWithin}, Sources{Queue: ask})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return w
}

func TestAFailingSourceKeepsItsLastGoodValue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		began, asked := time.Now(), atomic.Int64{}
		w := watch(t, func(context.Context) (Queue, error) {
			q := Queue{Messages: int(asked.Add(1))}
			if away.Load() {
				return q, errors.New("it is\n away")
			}
			return q, nil
		})
		synctest.Wait()
		if got := w.State("").Queue; got.Value.Messages != 1 || got.Error != "" || !got.At.Equal(began) {
			t.Errorf("at first it is %+v", got)
		}
		away.Store(true)
		time.Sleep(temporalEvery)
		synctest.Wait()
		failing := time.Now()
		time.Sleep(2 * temporalEvery)
		synctest.Wait()
		got := w.State("")
		if q := got.Queue; q.Value.Messages != 1 || q.Error != "it is away" || !q.At.Equal(began) || !q.Since.Equal(failing) {
			t.Errorf("failing, it is %+v", q)
		}
		if len(got.Problems) == 0 || got.Problems[0].What != "the console cannot read the fallback queue: it is away" || !got.Problems[0].Since.Equal(failing) {
			t.Errorf("the problems are %+v", got.Problems)
		}
		away.Store(false)
		time.Sleep(temporalEvery)
		synctest.Wait()
		if q := w.State("").Queue; q.Value.Messages != int(asked.Load()) || q.Error != "" || !q.Since.IsZero() || !q.At.Equal(time.Now()) {
			t.Errorf("mended, it is %+v", q)
		}
	})
}

// TestASourceThatDoesNotNoticeItsLimit: it is shown as failing, and is not asked twice at the same time.
func TestASourceThatDoesNotNoticeItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, release := atomic.Int64{}, make(chan struct{})
		w := watch(t, func(context.Context) (Queue, error) { asked.Add(1); <-release; return Queue{}, nil })
		time.Sleep(DefaultWithin + time.Second)
		synctest.Wait()
		if q := w.State("").Queue; q.Error != "no answer within 10s (--source-timeout)" || asked.Load() != 1 {
			t.Errorf("asked %d times, it is %+v", asked.Load(), q)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times at the same time", asked.Load())
		}
		close(release)
		synctest.Wait()
		if q := w.State("").Queue; q.Error != "" {
			t.Errorf("once it answers it is %+v", q)
		}
	})
}

func TestNoSourceIsAskedWhileNoPageLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		w := watch(t, func(context.Context) (Queue, error) { asked.Add(1); return Queue{}, nil })
		time.Sleep(time.Hour)
		synctest.Wait()
		if most := int64(idleAfter/temporalEvery) + 2; asked.Swap(0) > most {
			t.Errorf("asked more than %d times in an hour without a page", most)
		}
		for range 3 { // pages, which look at the same time
			w.State("")
		}
		synctest.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times when pages look, want 1", n)
		}
		for range 60 {
			w.State("")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n, want := asked.Load(), int64(time.Minute/temporalEvery); n < want || n > want+1 {
			t.Errorf("asked %d times within a minute, want about %d", n, want)
		}
	})
}

func TestTextsAreOneShortLine(t *testing.T) {
	t.Parallel()
	long := ""
	for range longestText {
		long += "ä"
	}
	for text, want := range map[string]string{" a\n\tb ": "a b", long: long[:longestText] + "…", "ö" + long[:longestText-2]: "ö" + long[:longestText-2]} {
		if got := line(text); got != want {
			t.Errorf("%.20q… is %q", text, got)
		}
	}
	if got := late(fmt.Errorf("read it: %w", errors.New("moved")), time.Second).Error(); got != "no answer within 1s (--source-timeout): read it: moved" {
		t.Error(got)
	}
}
