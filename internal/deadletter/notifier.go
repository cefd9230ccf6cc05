package deadletter

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/queue"
)

const (
	// notifyWithin bounds one attempt to send the letters about some entries: a mark
	// waits for it. SQS answers within 100 ms.
	notifyWithin = 3 * time.Second
	// silence is how long nothing is sent after a failure. The entries are noted
	// as untold at once, so that an outage of the queue costs a shard one attempt
	// in that time.
	silence = 30 * time.Second
)

// sender sends dead letters. See queue.DeadLetters.
type sender interface {
	Fits(l queue.DeadLetter) bool
	Send(ctx context.Context, letters []queue.DeadLetter) (untaken []int, err error)
}

// notifier sends letters about ledger entries. It is safe for concurrent use.
type notifier struct {
	dlq    sender
	within time.Duration // one attempt; zero: no bound

	mu     sync.Mutex
	silent time.Time // until then
}

// notify makes one attempt to send the letters about some entries, and returns the
// positions of those entries of which the queue may not know.
func (n *notifier) notify(ctx context.Context, entries []ledger.Entry, keys []string) (untold []int) {
	if n.isSilent() {
		for at := range entries {
			untold = append(untold, at)
		}
		return untold
	}
	untold, err := n.send(ctx, entries, keys)
	if err != nil {
		slog.WarnContext(ctx, "could not send dead letters; they are sent later, and the ledger has the entries",
			"entries", len(untold), "key", keys[untold[0]], "error", err)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.silent = time.Now().Add(silence)
	}
	return untold
}

func (n *notifier) isSilent() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Now().Before(n.silent)
}

// send is notify, whether the notifier is silent or not.
func (n *notifier) send(ctx context.Context, entries []ledger.Entry, keys []string) (untold []int, err error) {
	var letters []queue.DeadLetter
	var of []int // the entry of each letter
	for at, e := range entries {
		for _, l := range n.letters(e, keys[at]) {
			letters, of = append(letters, l), append(of, at)
		}
	}
	if len(letters) == 0 {
		return nil, nil
	}
	if n.within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.within)
		defer cancel()
	}
	untaken, err := n.dlq.Send(ctx, letters)
	for _, at := range untaken {
		if last := len(untold) - 1; last < 0 || untold[last] != of[at] {
			untold = append(untold, of[at])
		}
	}
	return untold, err
}
