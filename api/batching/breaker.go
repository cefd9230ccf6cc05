package batching

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// breakerFailures is how many starts in a row may fail before the next
	// batches take the direct way at once, without waiting for the timeout.
	breakerFailures = 3
	// breakerPause is how long they do, until one batch tries again.
	breakerPause = 2 * time.Second
)

// breaker keeps batches away from a Temporal that does not answer. The zero
// value is closed: everything may pass.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // open until then; later, one batch at a time may try
	probing  bool
}

// allows reports whether a batch may try. One that may must report.
func (b *breaker) allows() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakerFailures {
		return true
	}
	if b.probing || time.Now().Before(b.until) {
		return false
	}
	b.probing = true
	return true
}

// report says how a try ended.
func (b *breaker) report(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if err == nil {
		if b.failures >= breakerFailures {
			slog.Info("Temporal starts workflows again")
		}
		b.failures = 0
		breakerOpen.Set(0)
		return
	}
	if b.failures++; b.failures >= breakerFailures {
		if b.failures == breakerFailures {
			slog.Warn("Temporal does not start workflows, batches go directly into the stream", "error", err)
		}
		b.until = time.Now().Add(breakerPause)
		breakerOpen.Set(1)
	}
}
