package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	attemptTimeout = 30 * time.Second // one attempt of a post
	firstBackoff   = 50 * time.Millisecond
	longestBackoff = 2 * time.Second
	maxAnswer      = 1 << 20 // bytes of an answer that are read
)

// post sends the records that were taken until they are answered for good.
func (p *poster) post(ctx context.Context) error {
	p.body = p.settings.Protocol.encode(p.body[:0], p.Source, p.numbers)
	begin, backoff := time.Now(), firstBackoff
	for {
		attempt := time.Now()
		status, answer, wait := p.attempt(ctx)
		switch {
		case status >= 200 && status < 300:
			answered := time.Now()
			p.Latency.Add(answered.Sub(attempt))
			p.accept(answer, attempt, answered)
			return nil
		case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound:
			return fmt.Errorf("the collector answered %d %s: %.200s", status, http.StatusText(status), answer)
		case status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout:
			p.counts.refused.Add(uint64(len(p.numbers)))
			return nil
		}
		if ctx.Err() != nil || time.Since(begin) > p.settings.GiveUpAfter {
			p.counts.givenUp.Add(uint64(len(p.numbers)))
			return nil
		}
		p.counts.retries.Add(1)
		if wait == 0 {
			wait = backoff/2 + rand.N(backoff/2)
			backoff = min(2*backoff, longestBackoff)
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(wait, longestBackoff)):
		}
	}
}

// attempt makes one request. Status 0 means that there was no answer.
func (p *poster) attempt(ctx context.Context) (status int, answer []byte, wait time.Duration) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.settings.URL+p.settings.Protocol.path(), bytes.NewReader(p.body))
	if err != nil {
		return 0, nil, 0
	}
	request.Header.Set("Content-Type", p.settings.Protocol.contentType())
	if p.settings.Key != "" {
		request.Header.Set("Authorization", "ApiKey "+p.settings.Key)
	}
	response, err := p.client.Do(request)
	if err != nil {
		p.note("no answer: " + err.Error())
		return 0, nil, 0
	}
	defer response.Body.Close()
	// An answer whose body breaks off is an answer all the same: the status
	// is what the collector vouches with.
	answer, _ = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		wait = time.Duration(seconds) * time.Second
	}
	if response.StatusCode >= 300 {
		p.note(fmt.Sprintf("%s: %.200s", response.Status, answer))
	}
	return response.StatusCode, answer, wait
}

func (s *Sender) note(trouble string) { s.trouble.Store(&trouble) }

// accept notes the records of a post that was answered 2xx, less those that
// the answer names as rejected.
func (p *poster) accept(answer []byte, sent, answered time.Time) {
	p.counts.posts.Add(1)
	var partial struct {
		Rejected []struct {
			Position int `json:"position"`
		} `json:"rejected"`
	}
	rejected := map[int]bool{}
	if p.settings.Protocol == Telemetry && json.Unmarshal(answer, &partial) == nil {
		for _, r := range partial.Rejected {
			rejected[r.Position] = true
		}
	}
	for i, n := range p.numbers {
		switch {
		case rejected[i]:
			p.counts.refused.Add(1)
		case !p.Accepted.Add(n):
			p.counts.resent.Add(1)
			if p.Source.Bad(n) {
				p.counts.resentBad.Add(1)
			}
		case p.Answered != nil:
			p.Answered(n, sent, answered)
		}
	}
}
