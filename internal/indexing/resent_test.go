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

// slowPosts is Elasticsearch that holds the first bulk back, and finds what it has taken.
type slowPosts struct {
	earlierPosts
	began, answer chan struct{}
	answers       outcome.Class // of the first bulk
	digest        telemetry.Digest
}

func (e *slowPosts) Do(ctx context.Context, b *sink.Bulk) sink.Result {
	select {
	case e.began <- struct{}{}:
		<-e.answer
		if e.answers != outcome.Indexed {
			return sink.Result{Class: e.answers}
		}
	default:
	}
	return e.earlierPosts.Do(ctx, b)
}

func (e *slowPosts) Find(_ context.Context, documents []sink.Reference) (found []sink.Found, err error) {
	for _, d := range documents {
		if there := slices.Contains(e.indices, d.Index); there {
			found = append(found, sink.Found{There: true, Digest: e.digest})
		} else {
			found = append(found, sink.Found{})
		}
	}
	return found, nil
}

// knowing is a cache that takes what it is asked for to be indexed: a disaster has deleted it since.
type knowing struct{ unseen }

func (knowing) Seen(telemetry.DocID) (uint32, bool) { return telemetry.Digest(1).Short(), true }

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
		"the earlier post is refused":                      {late(0, 1), late(9, 1), outcome.Refused, []string{year}, Counts{}},
		"two resends, which have one index":                {late(9, 1), late(9, 1), outcome.Indexed, []string{year}, Counts{Duplicates: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			posts := &slowPosts{began: make(chan struct{}, 1), answer: make(chan struct{}), answers: c.answers, digest: 1}
			x := New(Settings{Bulk: posts, Lookup: posts, Limiter: limiter.New(1, 0), CompareRate: 1000}).Uncached()
			s := begin(t, x)
			ended := make(chan *Chunk, 2)
			go index(t, s, &Chunk{Records: []stream.Record{c.first}}, ended)
			until(t, func() bool { return len(posts.began) > 0 })
			go index(t, s, &Chunk{Records: []stream.Record{c.second}}, ended)
			until(t, func() bool { return x.flights.underWay() == 2 })
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

// TestOnlyTheSinkSaysWhatIsThere: not another chunk, whose cache may know what a disaster has deleted, or whose documents
// are others.
func TestOnlyTheSinkSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cache  Seen
		suffix string
		waits  bool
		want   []string
	}{
		"a cache knows it": {knowing{}, "", true, []string{"telemetry-log-2026"}},
		"for a copy of it": {unseen{}, "-copy", false, []string{"telemetry-log-2026-copy"}},
	} {
		posts := &slowPosts{began: make(chan struct{}, 1), answers: outcome.Indexed, digest: 1}
		posts.began <- struct{}{} // no bulk is held back
		x := New(Settings{Bulk: posts, Lookup: posts, Limiter: limiter.New(1, 0), Seen: c.cache, CompareRate: 1000})
		first := &Chunk{Records: []stream.Record{late(0, 1)}}
		first.sort(x, time.Now())
		flight, _ := x.flights.enter(first)
		ended := make(chan *Chunk, 1)
		replayed := late(9, 1)
		replayed.Replayed = true
		go index(t, begin(t, x.Past()), &Chunk{Records: []stream.Record{replayed}, Suffix: c.suffix}, ended)
		if c.waits {
			until(t, func() bool { return x.flights.underWay() == 2 })
			x.flights.leave(flight)
			<-ended
		} else {
			<-ended
			x.flights.leave(flight)
		}
		if !slices.Equal(posts.indices, c.want) {
			t.Errorf("%s: written to %v", name, posts.indices)
		}
	}
}

// TestAStoppedCallWaitsForNoOtherChunk, and not for a place behind it. Its records have no outcome, and none is blamed.
func TestAStoppedCallWaitsForNoOtherChunk(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(x *Indexer, first *flight, call *longcall.Call){
		"for the chunk": func(_ *Indexer, _ *flight, call *longcall.Call) { call.Abandon() },
		"for a place": func(x *Indexer, first *flight, call *longcall.Call) {
			x.flights.leave(first)
			until(t, func() bool { return x.Limiter.State().Waiting > 0 })
			call.Abandon()
		},
	} {
		x := New(Settings{Bulk: &earlierPosts{}, Limiter: limiter.New(1, 0)})
		taken, err := x.Limiter.Acquire(t.Context(), limiter.Live)
		if err != nil {
			t.Fatal(err)
		}
		defer taken(limiter.Feedback{})
		call := longcall.Begin(t.Context())
		s := x.Begin(call, "shard", limiter.Live)
		first := &Chunk{Records: []stream.Record{late(0, 1)}}
		first.sort(x, time.Now())
		flight, _ := x.flights.enter(first)
		ended := make(chan error, 1)
		second := &Chunk{Records: []stream.Record{late(9, 1)}}
		go func() { ended <- s.Index(second, func(limiter.Feedback) {}) }()
		until(t, func() bool { return x.flights.underWay() == 2 })
		stop(x, flight, call)
		if err := <-ended; !errors.Is(err, longcall.ErrStopped) || !slices.Equal(second.Stopped, []int{0}) || len(second.Open) > 0 {
			t.Errorf("%s: it ends with %v, and leaves %v, %v", name, err, second.Stopped, second.Open)
		}
	}
}

// index indexes a chunk, and says when that has ended.
func index(t *testing.T, s *Run, c *Chunk, ended chan<- *Chunk) {
	if err := s.Index(c, func(limiter.Feedback) {}); err != nil {
		t.Error(err)
	}
	ended <- c
}

func (f *flights) underWay() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all)
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll.Every(ctx, time.Millisecond, func() (bool, error) { return condition(), nil }); err != nil {
		t.Fatal(err)
	}
}
