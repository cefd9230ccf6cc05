package deadletter

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"millrace/internal/ledger"
	"millrace/internal/queue"
)

var (
	untoldEntries = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ledger_untold_entries_total",
		Help: "Ledger entries whose message the dead-letter queue rejected at first; it is sent later.",
	})
)

const (
	// refusedInARow is after how many entries, of which no letter was taken, the
	// queue is called away.
	refusedInARow = 3
)

// board is where entries stand of which the dead-letter queue does not
// know. See ledger.Ledger.
type board interface {
	Untold(ctx context.Context) iter.Seq2[string, error]
	Get(ctx context.Context, key string) (ledger.Entry, error)
	Told(ctx context.Context, key string) error
}

// Teller sends the letters that the dead-letter queue did not take when their
// entries were written.
type Teller struct {
	board    board
	notifier notifier

	mu    sync.Mutex
	after string // the entry that was tried last
}

// NewTeller returns a Teller.
func NewTeller(l *ledger.Ledger, dlq *queue.DeadLetters) *Teller {
	return &Teller{board: l, notifier: notifier{dlq: dlq, within: notifyWithin}}
}

// Patient returns a Teller that waits for the dead-letter queue as long as it takes,
// for tests on a busy machine.
func (t *Teller) Patient() *Teller {
	return &Teller{board: t.board, notifier: notifier{dlq: t.notifier.dlq}}
}

// TellUntold makes one attempt at each untold entry, and returns how many are
// left. It gives up when the queue is away, and goes on there the next time, so
// that a letter which is never taken stands in the way of no other.
func (t *Teller) TellUntold(ctx context.Context) (left int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, err := t.turn(ctx)
	if err != nil {
		return 0, err
	}
	left = len(keys)
	for refused := 0; len(keys) > 0 && refused < refusedInARow; keys = keys[1:] {
		t.after = keys[0]
		told, err := t.tell(ctx, keys[0])
		if err != nil {
			return left, err
		}
		if refused++; told {
			refused = 0
			left--
		}
	}
	return left, nil
}

// turn lists the untold entries, those first that come behind the one that was
// tried last.
func (t *Teller) turn(ctx context.Context) (keys []string, err error) {
	var before []string
	for key, err := range t.board.Untold(ctx) {
		if err != nil {
			return nil, err
		}
		if key <= t.after {
			before = append(before, key)
		} else {
			keys = append(keys, key)
		}
	}
	return append(keys, before...), nil
}

// tell sends the letters about an entry that is still open, and removes the note
// about it.
func (t *Teller) tell(ctx context.Context, key string) (told bool, err error) {
	e, err := t.board.Get(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist): // an operator has deleted it
	case err != nil:
		return false, err
	case e.Resolution == nil:
		if _, err := t.notifier.send(ctx, []ledger.Entry{e}, []string{key}); err != nil {
			slog.WarnContext(ctx, "could not send the dead letter of a ledger entry, trying again", "key", key, "error", err)
			return false, ctx.Err()
		}
	}
	return true, t.board.Told(ctx, key)
}
