package longcall

import (
	"sync"
	"time"
)

// Stall holds the operations that keep a call from getting on, and since when. It
// is safe for concurrent use; the zero value is empty.
type Stall struct {
	mu    sync.Mutex
	since map[string]time.Time
	last  string
}

// Set enters that an operation fails.
func (s *Stall) Set(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since == nil {
		s.since = map[string]time.Time{}
	}
	if _, known := s.since[what]; !known {
		s.since[what] = time.Now()
	}
	s.last = what + ": " + err.Error()
}

// Clear enters that an operation works.
func (s *Stall) Clear(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.since, what)
}

// State returns since when an operation has failed, zero if all work, and the last
// error there was.
func (s *Stall) State() (since time.Time, last string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.since {
		if since.IsZero() || at.Before(since) {
			since = at
		}
	}
	return since, s.last
}
