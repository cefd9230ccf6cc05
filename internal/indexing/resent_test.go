package indexing

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"millrace/internal/dedup"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
	"millrace/test/kit/poll"
)

// earlierPosts is Elasticsearch that takes everything, and finds what it is told.
type earlierPosts struct {
	found   func(n int) ([]sink.Found, error) // of n documents
	looks   int
	indices []string // that were written to
}

func (e *earlierPosts) Do(_ context.Context, b *sink.Bulk) sink.Result {
	e.indices = append(e.indices, b.Indices()...)
	return sink.Result{Class: outcome.Indexed}
}

func (e *earlierPosts) Find(_ context.Context, documents []sink.Reference) ([]sink.Found, error) {
	e.looks++
	return e.found(len(documents))
}

// late is a record that arrived so many days after its own time.
func late(days int, digest telemetry.Digest) stream.Record {
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	received := at.AddDate(0, 0, days)
	p := telemetry.Window{DaysBack: 8, DaysAhead: 1}.Place("log", at, received)
	return stream.Record{Sequence: made.Sequence(days), Arrived: received, Data: telemetry.AppendRecord(nil, telemetry.Head{
		Index: p.Index, Own: p.Own, Earlier: p.Earlier, Digest: digest, ReceivedAt: received, Tenant: "acme", ID: "x", Type: "log", Timestamp: at,
	}, []byte(`{}`))}
}

func TestAResendIsNotWrittenBesideItsEarlierPost(t *testing.T) {
	t.Parallel()
	const day, year = "telemetry-log-2026.11.23", "telemetry-log-2026"
	closed := &sink.LookupError{Cause: outcome.Error{Type: "index_closed_exception"}, Closed: true}
	away := 0
	for name, c := range map[string]struct {
		records []stream.Record
		found   func(n int) ([]sink.Found, error)
		indices []string
		earlier Counts
		looks   int
	}{
		"an ordinary record":             {[]stream.Record{late(0, 1)}, nil, []string{day}, Counts{}, 0},
		"not there":                      {[]stream.Record{late(9, 1)}, func(int) ([]sink.Found, error) { return []sink.Found{{}}, nil }, []string{year}, Counts{}, 1},
		"there":                          {[]stream.Record{late(9, 1)}, func(int) ([]sink.Found, error) { return []sink.Found{{There: true, Digest: 1}}, nil }, nil, Counts{Duplicates: 1}, 1},
		"there, from before digests":     {[]stream.Record{late(9, 1)}, func(int) ([]sink.Found, error) { return []sink.Found{{There: true}}, nil }, nil, Counts{Unchecked: 1}, 1},
		"there, and says something else": {[]stream.Record{late(9, 1)}, func(int) ([]sink.Found, error) { return []sink.Found{{There: true, Digest: 2}}, nil }, nil, Counts{Conflicts: 1}, 1},
		"in a closed index":              {[]stream.Record{late(9, 1)}, func(int) ([]sink.Found, error) { return []sink.Found{{}}, closed }, []string{year}, Counts{}, 1},
		"in the same chunk":              {[]stream.Record{late(0, 1), late(9, 1)}, func(int) ([]sink.Found, error) { return []sink.Found{{}}, nil }, []string{day}, Counts{Duplicates: 1}, 1},
		"in the same chunk, and says something else": {[]stream.Record{late(0, 1), late(9, 2)}, func(int) ([]sink.Found, error) { return []sink.Found{{}}, nil }, []string{day}, Counts{Conflicts: 1}, 1},
		"after an outage": {[]stream.Record{late(9, 1)}, func(int) ([]sink.Found, error) {
			if away++; away == 1 {
				return nil, errors.New("away")
			}
			return []sink.Found{{There: true, Digest: 1}}, nil
		}, nil, Counts{Duplicates: 1}, 2},
	} {
		posts := &earlierPosts{found: c.found}
		s := begin(t, New(Settings{Bulk: posts, Lookup: posts, Limiter: limiter.New(1, 0), Seen: dedup.New(100), CompareRate: 1000}))
		chunk := &Chunk{Records: c.records}
		if err := s.Index(chunk, func(limiter.Feedback) {}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var earlier Counts
		earlier.AddEarlier(chunk.Counts)
		if !slices.Equal(posts.indices, c.indices) || earlier != c.earlier || posts.looks != c.looks {
			t.Errorf("%s: written to %v, %+v after %d looks", name, posts.indices, chunk.Counts, posts.looks)
		}
	}
}

// slowPosts is Elasticsearch that holds the first bulk back.
type slowPosts struct {
	earlierPosts
	began, answer chan struct{}
	answers       outcome.Class // of the first bulk
}

func (e *slowPosts) Do(ctx context.Context, b *sink.Bulk) sink.Result {
	select {
	case e.began <- struct{}{}:
		<-e.answer
		e.earlierPosts.Do(ctx, b)
		return sink.Result{Class: e.answers}
	default:
		return e.earlierPosts.Do(ctx, b)
	}
}

// TestAResendWaitsForItsEarlierPost that is under way in another chunk, in which no look-up finds it; and an earlier post
// for its resend. One place in the sink is enough.
func TestAResendWaitsForItsEarlierPost(t *testing.T) {
	t.Parallel()
	const day, year = "telemetry-log-2026.11.23", "telemetry-log-2026"
	for name, c := range map[string]struct {
		first, second stream.Record
		answers       outcome.Class
		indices       []string
		earlier       Counts
	}{
		"the resend comes second":                          {late(0, 1), late(9, 1), outcome.Indexed, []string{day}, Counts{Duplicates: 1}},
		"the resend comes first":                           {late(9, 1), late(0, 1), outcome.Indexed, []string{year}, Counts{Duplicates: 1}},
		"the resend comes second, and says something else": {late(0, 1), late(9, 2), outcome.Indexed, []string{day}, Counts{Conflicts: 1}},
		"the earlier post is refused":                      {late(0, 1), late(9, 1), outcome.Refused, []string{day, year}, Counts{}},
		"two resends, whose index is the same and says so": {late(9, 1), late(9, 1), outcome.Indexed, []string{year}, Counts{Duplicates: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			posts := &slowPosts{began: make(chan struct{}, 1), answer: make(chan struct{}), answers: c.answers}
			posts.found = func(n int) ([]sink.Found, error) { return make([]sink.Found, n), nil }
			x := New(Settings{Bulk: posts, Lookup: posts, Limiter: limiter.New(1, 0), CompareRate: 1000}).Uncached()
			s := begin(t, x)
			ended := make(chan *Chunk, 2)
			index := func(r stream.Record) {
				chunk := &Chunk{Records: []stream.Record{r}}
				if err := s.Index(chunk, func(limiter.Feedback) {}); err != nil {
					t.Error(err)
				}
				ended <- chunk
			}
			go index(c.first)
			until(t, func() bool { return len(posts.began) > 0 })
			go index(c.second)
			until(t, func() bool { // it has met the first
				x.flights.mu.Lock()
				defer x.flights.mu.Unlock()
				return x.flights.all[0].awaited
			})
			close(posts.answer)
			var earlier Counts
			for range 2 {
				earlier.AddEarlier((<-ended).Counts)
			}
			if !slices.Equal(posts.indices, c.indices) || earlier != c.earlier {
				t.Errorf("written to %v, %+v", posts.indices, earlier)
			}
		})
	}
}

// TestAStoppedCallWaitsForNoOtherChunk of another call.
func TestAStoppedCallWaitsForNoOtherChunk(t *testing.T) {
	t.Parallel()
	x := New(Settings{Bulk: &earlierPosts{}, Limiter: limiter.New(1, 0)})
	call := longcall.Begin(t.Context())
	s := x.Begin(call, "shard", limiter.Live)
	first := &Chunk{Records: []stream.Record{late(0, 1)}}
	first.sort(x.Seen, time.Now())
	flight, _ := x.flights.enter(first)
	defer x.flights.leave(flight, first, false)
	ended := make(chan error, 1)
	second := &Chunk{Records: []stream.Record{late(9, 1)}}
	go func() { ended <- s.Index(second, func(limiter.Feedback) {}) }()
	until(t, func() bool {
		x.flights.mu.Lock()
		defer x.flights.mu.Unlock()
		return flight.awaited
	})
	call.Abandon()
	if err := <-ended; !errors.Is(err, longcall.ErrStopped) || !slices.Equal(second.Stopped, []int{0}) {
		t.Errorf("it ends with %v, and leaves %v", err, second.Stopped)
	}
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll.Every(ctx, time.Millisecond, func() (bool, error) { return condition(), nil }); err != nil {
		t.Fatal(err)
	}
}
