package stream

import (
	"context"
	"sync"
	"time"
)

// survey is when a writer has last looked at what it has to know of the stream. It waits for the first look only, and not for
// long: what it puts is more urgent.
type survey struct {
	sync.Mutex
	known   bool // a look has succeeded
	looking bool
	last    time.Time
}

// surveyWithin bounds how long a writer waits.
const surveyWithin = 2 * time.Second

// take looks again if the last look is older than that, at once if it has not succeeded yet, else meanwhile.
func (s *survey) take(ctx context.Context, age time.Duration, look func(context.Context) error) {
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
		s.known, s.looking = s.known || err == nil, false
	}()
	if s.known {
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
