package indexing

import (
	"testing"
	"testing/synctest"

	"millrace/internal/limiter"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// A part that is tried in pieces waits for its own places, and takes none of those
// that are kept for others.
func TestPiecesOfAPartYieldToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &digested{documents: map[string]telemetry.Digest{}}
		x := New(Settings{Bulk: server, Lookup: server, Limiter: limiter.New(2, 0)}) // one of them for what yields
		release, err := x.Limiter.Acquire(t.Context(), limiter.Yielding)
		if err != nil {
			t.Fatal(err)
		}
		n := &bisection{run: begin(t, x), c: &Chunk{Records: []stream.Record{posted(0, 7)}, Priority: limiter.Yielding}}
		tried := make(chan error, 1)
		go func() {
			_, err := n.tryPiece([]Verdict{{At: 0}})
			tried <- err
		}()
		synctest.Wait()
		if s := x.Limiter.State(); s.Waiting != 1 || s.InFlight != 1 {
			t.Errorf("it took a place that is kept for others: %+v", s)
		}
		release(limiter.Feedback{})
		if err := <-tried; err != nil || len(server.documents) != 1 {
			t.Errorf("once there is a place: %d are indexed, %v", len(server.documents), err)
		}
	})
}
