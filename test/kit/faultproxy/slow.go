package faultproxy

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"
)

// Slow is a service that works on one call after the other, each for as long as
// its lines need: a server with one core.
type Slow struct {
	PerLine time.Duration
	// Waited learns of each call how long others were worked on before it.
	Waited func(body []byte, waited time.Duration)

	turn sync.Mutex
}

func (s *Slow) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	body := readBody(r)
	r.Body = io.NopCloser(bytes.NewReader(body))
	lines := bytes.Count(body, []byte{'\n'})
	s.work(r, body, time.Duration(lines)*s.PerLine)
	answer := record(r, forward)
	replay(w, answer, answer.Body.Len())
	return lines
}

func (s *Slow) work(r *http.Request, body []byte, takes time.Duration) {
	came := time.Now()
	s.turn.Lock()
	defer s.turn.Unlock()
	s.Waited(body, time.Since(came))
	hold(r, takes)
}
