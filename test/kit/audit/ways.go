package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"millrace/internal/load"
	"millrace/internal/pack"
)

// Queued knows the records that went into the fallback queue, by the messages
// that the queue has taken. It decides no verdict, so it may use package pack of
// the pipeline. It is safe for concurrent use; the zero value is empty.
type Queued struct {
	mu    sync.Mutex
	posts map[post]bool
}

// post is a record as it was received once: sent again, it is another post.
type post struct {
	identity
	received int64 // milliseconds since 1970
}

// Take notes the records of one message. A record that is too large for a
// message is in the bucket instead, and is an error here.
func (q *Queued) Take(message string) error {
	var body struct{ Pack []byte }
	if err := json.Unmarshal([]byte(message), &body); err != nil {
		return fmt.Errorf("decode a message: %w", err)
	}
	records, err := pack.Unpack(body.Pack)
	if err != nil {
		return fmt.Errorf("read the records of a message: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, record := range records {
		p, _, err := readPost(record)
		if err != nil {
			return err
		}
		if q.posts == nil {
			q.posts = map[post]bool{}
		}
		q.posts[p] = true
	}
	return nil
}

func (q *Queued) has(p post) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.posts[p]
}

// readPost reads a record or its document, which alone has a time of indexing.
func readPost(text []byte) (p post, indexed time.Time, err error) {
	if p.identity, err = identify(text); err != nil {
		return p, indexed, err
	}
	var times struct {
		ReceivedAt time.Time `json:"received_at"`
		IndexedAt  time.Time `json:"indexed_at"`
	}
	if err := json.Unmarshal(text, &times); err != nil {
		return p, indexed, fmt.Errorf("decode the times of a record: %w", err)
	}
	p.received = times.ReceivedAt.UnixMilli()
	return p, times.IndexedAt, nil
}

// Delays are those of documents, by the way that they took: indexed_at less
// received_at.
type Delays struct {
	Direct, Queued load.Histogram // received when the warm-up was over
	WarmingUp      load.Histogram // received before that, by either way
}

// ByWay reads every document. The warm-up ends at a time of the collector's
// clock.
func (q *Queued) ByWay(ctx context.Context, stores Stores, warm time.Time) (*Delays, error) {
	delays := new(Delays)
	err := stores.documents(ctx, func(index string, source json.RawMessage) error {
		p, indexed, err := readPost(source)
		if err != nil {
			return fmt.Errorf("read a document of %s: %w", index, err)
		}
		delay := indexed.Sub(time.UnixMilli(p.received))
		switch {
		case p.received < warm.UnixMilli():
			delays.WarmingUp.Add(delay)
		case q.has(p):
			delays.Queued.Add(delay)
		default:
			delays.Direct.Add(delay)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the delays of documents: %w", err)
	}
	return delays, nil
}
