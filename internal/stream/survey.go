package stream

import (
	"context"
	"sync"
	"time"
)

// survey is when writers have last looked at what they have to know of the stream. They wait only where they know nothing, or
// nothing that is fresh, and not for long: what they put is more urgent.
type survey struct {
	sync.Mutex
	looking chan struct{} // closed when the look under way ends; nil: none is
	last    time.Time     // when that began, or the last one
	known   time.Time     // when a look succeeded last
}

// surveyWithin bounds how long a look is waited for, from its beginning.
const surveyWithin = 2 * time.Second

// take looks again if the last look is older than age. All who come wait for that if none has succeeded for trust.
func (s *survey) take(ctx context.Context, age, trust time.Duration, look func(context.Context) error) {
	s.Lock()
	if s.looking == nil && time.Since(s.last) > age {
		s.looking, s.last = make(chan struct{}), time.Now()
		go s.look(context.WithoutCancel(ctx), look)
	}
	looking, left := s.looking, surveyWithin-time.Since(s.last)
	isFresh := !s.known.IsZero() && time.Since(s.known) <= trust
	s.Unlock()
	if isFresh || looking == nil || left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-looking:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *survey) look(ctx context.Context, look func(context.Context) error) {
	err := look(ctx)
	s.Lock()
	defer s.Unlock()
	close(s.looking)
	if s.looking = nil; err == nil {
		s.known = time.Now()
	}
}
