package stream

import (
	"context"
	"sync"
	"time"
)

// survey is when a writer has last looked at what it has to know of the stream. It waits only where it knows nothing, or
// nothing that is fresh, and not for long: what it puts is more urgent.
type survey struct {
	sync.Mutex
	looking bool
	last    time.Time // when it began to look
	known   time.Time // when a look succeeded last
}

// surveyWithin bounds how long a writer waits.
const surveyWithin = 2 * time.Second

// take looks again if the last look is older than age. It waits for that if none has succeeded for trust, else looks meanwhile.
func (s *survey) take(ctx context.Context, age, trust time.Duration, look func(context.Context) error) {
	s.Lock()
	defer s.Unlock()
	if s.looking || time.Since(s.last) <= age {
		return
	}
	s.looking, s.last = true, time.Now()
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		err := look(context.WithoutCancel(ctx))
		s.Lock()
		defer s.Unlock()
		if s.looking = false; err == nil {
			s.known = time.Now()
		}
	}()
	if !s.known.IsZero() && time.Since(s.known) <= trust {
		return
	}
	s.Unlock()
	defer s.Lock()
	timer := time.NewTimer(surveyWithin)
	defer timer.Stop()
	select {
	case <-looked:
	case <-timer.C:
	case <-ctx.Done():
	}
}
