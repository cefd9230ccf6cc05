package backup

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"millrace/internal/archive"
	"millrace/internal/telemetry"
)

// Store is where the objects are. See archive.Bucket.
type Store interface {
	PutNew(ctx context.Context, key string, body []byte, meta map[string]string) (created bool, err error)
	Stat(ctx context.Context, key string) (archive.Object, error)
}

// Metadata of an object.
const (
	metaLast  = "last"
	metaCount = "count"
)

var errNoLast = errors.New("it does not say its last sequence number")

// Chain is the end of a shard's chain, and what is to be added to it. It
// belongs to one goroutine.
type Chain struct {
	store Store
	shard Shard
	last  string // the last sequence number that is in the chain
	held  []Record
	bytes int
}

// Open goes on behind a sequence number, or begins a chain where it is "".
func Open(store Store, shard Shard, last string) *Chain {
	return &Chain{store: store, shard: shard, last: last}
}

// Add takes a record, in the order of the shard. One that is in the chain
// already is left out: another writer was here.
func (c *Chain) Add(r Record) {
	if c.last != "" && telemetry.CompareSequence(r.Sequence, c.last) <= 0 {
		return
	}
	c.held = append(c.held, r)
	c.bytes += len(r.Data)
}

// Last is the last sequence number that is durable.
func (c *Chain) Last() string { return c.last }

// Held is how many records and bytes are not durable yet.
func (c *Chain) Held() (records, bytes int) { return len(c.held), c.bytes }

// Flush makes everything that is held durable. After an error what was written
// by then is part of the chain, and the rest is held: call it again.
func (c *Chain) Flush(ctx context.Context) error {
	for len(c.held) > 0 {
		key := c.shard.Key(c.held[0])
		body, err := encode(c.shard.ID, c.held)
		if err != nil {
			return err
		}
		last := c.held[len(c.held)-1].Sequence
		created, err := c.store.PutNew(ctx, key, body, map[string]string{metaLast: last, metaCount: strconv.Itoa(len(c.held))})
		if err != nil {
			return fmt.Errorf("back up %d records: %w", len(c.held), err)
		}
		if !created {
			if last, err = c.adopt(ctx, key); err != nil {
				return err
			}
		}
		c.pass(last)
	}
	return nil
}

// adopt returns where an object of another writer, or of a lost answer, ends.
func (c *Chain) adopt(ctx context.Context, key string) (string, error) {
	object, err := c.store.Stat(ctx, key)
	if err != nil {
		return "", fmt.Errorf("adopt an object: %w", err)
	}
	last := object.Meta[metaLast]
	if last == "" || telemetry.CompareSequence(last, c.held[0].Sequence) < 0 {
		return "", fmt.Errorf("adopt %s: %w", key, errNoLast)
	}
	return last, nil
}

// pass drops what is in the chain now.
func (c *Chain) pass(last string) {
	c.last = last
	held := c.held
	c.held, c.bytes = nil, 0
	for _, r := range held {
		c.Add(r)
	}
}
