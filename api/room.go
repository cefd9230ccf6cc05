package api

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// room is how many bytes of requests may still come in. All requests share it,
// each from its first byte to its answer: one alone is bounded by its own
// limit, but a thousand that wait for a slow stream would fill the memory.
type room struct{ left atomic.Int64 }

func newRoom(bytes int) *room {
	r := &room{}
	r.left.Store(int64(bytes))
	return r
}

// share is what one request has of the room.
type share struct {
	room *room
	held int64
}

// take makes the share larger, or reports that there is no room for that.
func (s *share) take(bytes int64) bool {
	if s.room.left.Add(-bytes) < 0 {
		s.room.left.Add(bytes)
		return false
	}
	s.held += bytes
	return true
}

func (s *share) giveBack() {
	s.room.left.Add(s.held)
	s.held = 0
}

var errNoRoom = errors.New("no room for another request")

// metered is a reader that takes room for what it reads.
type metered struct {
	io.Reader
	share *share
}

// Read fails with errNoRoom when there is no room for what was read.
func (m metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if !m.share.take(int64(n)) {
		return 0, errNoRoom
	}
	return n, err
}

// full refuses a request that there is no room for.
func full() *refusal {
	return &refusal{status: http.StatusServiceUnavailable, reason: "too many requests are in hand", retry: retryAfter}
}
