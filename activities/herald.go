package activities

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/queue"
)

const (
	// tellWithin bounds one attempt to send the letters about a burial: a mark
	// waits for it. SQS answers within 100 ms.
	tellWithin = 3 * time.Second
	// silence is how long nothing is sent after a failure. The entries are noted
	// as untold at once, so that an outage of the queue costs a shard one attempt
	// in that time.
	silence = 30 * time.Second
)

// crier sends dead letters. See queue.DeadLetters.
type crier interface {
	Fits(l queue.DeadLetter) bool
	Send(ctx context.Context, letters []queue.DeadLetter) (untaken []int, err error)
}

// herald sends letters about ledger entries. It is safe for concurrent use.
type herald struct {
	dlq    crier
	within time.Duration // one attempt; zero: no bound

	mu     sync.Mutex
	silent time.Time // until then
}

// tell makes one attempt to send the letters about some entries, and returns the
// positions of those entries of which the queue may not know.
func (h *herald) tell(ctx context.Context, entries []ledger.Entry, keys []string) (untold []int) {
	if h.isSilent() {
		for at := range entries {
			untold = append(untold, at)
		}
		return untold
	}
	untold, err := h.send(ctx, entries, keys)
	if err != nil {
		slog.WarnContext(ctx, "could not send dead letters; they are sent later, and the ledger has the entries",
			"entries", len(untold), "key", keys[untold[0]], "error", err)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.silent = time.Now().Add(silence)
	}
	return untold
}

func (h *herald) isSilent() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Before(h.silent)
}

// send is tell, whether the herald is silent or not.
func (h *herald) send(ctx context.Context, entries []ledger.Entry, keys []string) (untold []int, err error) {
	var letters []queue.DeadLetter
	var of []int // the entry of each letter
	for at, e := range entries {
		for _, l := range h.letters(e, keys[at]) {
			letters, of = append(letters, l), append(of, at)
		}
	}
	if len(letters) == 0 {
		return nil, nil
	}
	if h.within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.within)
		defer cancel()
	}
	untaken, err := h.dlq.Send(ctx, letters)
	for _, at := range untaken {
		if n := len(untold); n == 0 || untold[n-1] != of[at] {
			untold = append(untold, of[at])
		}
	}
	return untold, err
}
