package api

import (
	"errors"
	"net/http"
	"sync"
)

// room is how many bytes requests may take at once: their bodies, and the
// records that are made of them. All requests share it, each from its first byte
// to its answer: one alone is bounded by its own limits, but a thousand that wait
// for a slow stream would fill the memory. One tenant has only a part of it.
type room struct {
	mu      sync.Mutex
	left    int64
	tenants map[string]holding // of those that hold some

	mostBytes    int64 // of one tenant
	mostRequests int   // of one tenant

	// The last part of the room is kept for tenants that hold no more than one body takes as it arrives: without it,
	// four that fill their parts would leave nothing for all others.
	kept    int64
	oneBody int64
}

// holding is what a tenant has of the room.
type holding struct {
	bytes    int64
	requests int
}

// tenantPart is the part of the room and of the connections that one tenant may
// hold, and that is kept for tenants that hold little.
const tenantPart = 4

func newRoom(limits Limits) *room {
	all, part := int64(limits.RequestBytes), int64(limits.RequestBytes/tenantPart)
	most := max(part, int64(limits.largestRequest()))
	return &room{
		left: all, tenants: make(map[string]holding),
		mostBytes:    most,
		mostRequests: max(1, limits.Connections/tenantPart),
		kept:         max(0, min(part, all-most)), // a tenant that is alone may have its part
		oneBody:      2 * int64(limits.BodyBytes), // it grows by doubling, and over gRPC begins so
	}
}

// share is what one request has of the room.
type share struct {
	room   *room
	tenant string
	held   holding
}

// enter begins a request of a tenant, or reports that it has too many in hand.
func (s *share) enter(tenant string) bool {
	s.tenant = tenant
	return s.change(holding{requests: 1})
}

// reserve makes the share larger, or reports that there is no room for that. It
// never waits: two requests that both hold some would wait for each other.
func (s *share) reserve(bytes int64) bool { return s.change(holding{bytes: bytes}) }

func (s *share) change(by holding) bool {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	has := s.room.tenants[s.tenant]
	has.bytes += by.bytes
	has.requests += by.requests
	left := s.room.left
	if has.bytes > s.room.oneBody {
		left -= s.room.kept
	}
	if by.bytes > max(0, left) || has.bytes > s.room.mostBytes || has.requests > s.room.mostRequests {
		return false
	}
	s.room.left -= by.bytes
	s.room.tenants[s.tenant] = has
	s.held.bytes += by.bytes
	s.held.requests += by.requests
	return true
}

// shrink gives back all but so many bytes.
func (s *share) shrink(to int64) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.release(holding{bytes: s.held.bytes - min(to, s.held.bytes)})
}

// giveBack ends the share.
func (s *share) giveBack() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.release(s.held)
}

func (s *share) release(some holding) {
	has := s.room.tenants[s.tenant]
	has.bytes -= some.bytes
	has.requests -= some.requests
	if s.room.tenants[s.tenant] = has; has == (holding{}) {
		delete(s.room.tenants, s.tenant)
	}
	s.room.left += some.bytes
	s.held.bytes -= some.bytes
	s.held.requests -= some.requests
}

var errNoRoom = errors.New("no room for another request")

// full refuses a request that there is no room for.
func full() *refusal {
	return &refusal{status: http.StatusServiceUnavailable, reason: "too many requests are in hand", retry: retryAfter}
}

// slots bound how many requests are unpacked and decoded at once. That only
// computes, so that more of them than processors would not end sooner; but each
// takes memory beside the room, for a decompressor and for what is decoded.
type slots chan struct{}

func (s slots) do(work func()) {
	s <- struct{}{}
	defer func() { <-s }()
	work()
}
