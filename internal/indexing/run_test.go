package indexing

import (
	"context"
	"testing"
	"testing/synctest"

	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/test/kit/made"
)

// busy times out on bulks above a size.
type busy struct{ bytes, requests int }

func (b *busy) Do(_ context.Context, bulk *sink.Bulk) sink.Result {
	b.requests++
	if bulk.Size() > b.bytes {
		return sink.Result{Class: outcome.Transient, TimedOut: true, Overloaded: true, Bytes: bulk.Size(), Error: outcome.Error{Status: 504}}
	}
	return sink.Result{Bytes: bulk.Size()}
}

// TestBulksStaySmallerThanOneThatTimedOutAgain: the next one is not built so
// large, though concurrency could still shrink.
func TestBulksStaySmallerThanOneThatTimedOutAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = 3 * LeastSplit
		server := &busy{bytes: most}
		x := New(Settings{Bulk: server, Limiter: limiter.New(0, most)})
		s := begin(t, x)
		c := &Chunk{}
		for n := range 1000 {
			c.Records = append(c.Records, stream.Record{Sequence: made.Sequence(n), Data: made.Record(n)})
		}
		place, err := s.Place(c.Priority)
		if err != nil || s.Index(c, place) != nil || c.Counts.Indexed != 1000 || server.requests != bodyTimeouts+2 {
			t.Fatalf("%d requests, the counts are %+v: %v", server.requests, c.Counts, err)
		}
		if got := x.Limiter.State(); got.BulkBytes >= most || got.Limit <= 1 {
			t.Errorf("the limiter is at %+v", got)
		}
	})
}

// begin begins a run in a call that is abandoned when the test ends.
func begin(t *testing.T, x *Indexer) *Run {
	t.Helper()
	call := longcall.Begin(t.Context())
	t.Cleanup(call.Abandon)
	return x.Begin(call, "shard", limiter.Live)
}
