package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"millrace/internal/telemetry"
)

// Store is where the objects are. See archive.Bucket.
type Store interface {
	// PutNew writes an object unless there is one, and reports whether it did.
	// False may also mean that an attempt of this call did whose answer was lost.
	PutNew(ctx context.Context, key string, body []byte, meta map[string]string) (created bool, err error)
	// Meta returns an object's metadata.
	Meta(ctx context.Context, key string) (map[string]string, error)
	// Keys yields the keys that begin with prefix. An error ends it.
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Chain is the end of a shard's chain, and what is to be added to it. It
// belongs to one goroutine.
type Chain struct {
	store Store
	shard Shard
	last  string // the last sequence number that is in the chain
	// doubt: others may have written what comes next, under a key that does not
	// follow from the next record.
	doubt bool
	gap   bool // records are missing, unless others have written them

	first  Record // of what is held, without its data
	held   Meta
	body   bytes.Buffer
	packer *gzip.Writer
	line   []byte
}

var errUnflushed = errors.New("flush first what an earlier attempt has not")

// packers are kept: each has most of a megabyte of tables.
var packers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// Open goes on behind a sequence number, or begins a chain where it is "". The
// first object is looked for in the chain before it is written: where the
// stream was trimmed meanwhile, or the checkpoint is lost, an object that was
// written before may hold records of it under another key.
func Open(store Store, shard Shard, last string) *Chain {
	return &Chain{store: store, shard: shard, last: last, doubt: true}
}

// Doubt is for when records may be missing between the last one and the next.
func (c *Chain) Doubt() { c.doubt, c.gap = true, true }

// End writes down, below EndsPrefix, that the chain has all of its shard.
func (c *Chain) End(ctx context.Context, ends Store) error {
	meta := map[string]string{}
	if c.last != "" {
		meta[metaLast] = c.last
	}
	if _, err := ends.PutNew(ctx, c.shard.end(), []byte("{}"), meta); err != nil {
		return fmt.Errorf("write that the backup of a shard is complete: %w", err)
	}
	return nil
}

// Last is the last sequence number that is durable.
func (c *Chain) Last() string { return c.last }

// Held is what is not durable yet.
func (c *Chain) Held() Meta { return c.held }

// Fits reports whether what arrived then can stand in one object with what is
// held: it is of the same hour. If not, flush first.
func (c *Chain) Fits(arrived time.Time) bool {
	return c.held.Count == 0 || arrived.Truncate(time.Hour).Equal(c.first.Arrived.Truncate(time.Hour))
}

// Add takes a record, in the order of the shard, and keeps nothing of its
// memory. One that is in the chain already is left out: another writer was
// here. All documents of a container belong into one object.
func (c *Chain) Add(r Record) error {
	if c.last != "" && telemetry.ComparePositions(r.Sequence, c.last) <= 0 {
		return nil
	}
	if c.held.Count > 0 && c.packer == nil {
		return errUnflushed
	}
	if c.held.Count == 0 {
		c.first = Record{Sequence: telemetry.SequenceOf(r.Sequence), Arrived: r.Arrived}
		c.held = Meta{After: c.last, Oldest: r.Arrived, Newest: r.Arrived}
		if c.gap {
			c.held.After = AfterGap
		}
		c.body.Reset()
		c.packer = packers.Get().(*gzip.Writer)
		c.packer.Reset(&c.body)
	}
	c.line = appendLine(c.line[:0], c.shard.ID, r)
	if _, err := c.packer.Write(c.line); err != nil {
		return fmt.Errorf("compress a record: %w", err)
	}
	c.held.Last, c.held.Count, c.held.Bytes = telemetry.SequenceOf(r.Sequence), c.held.Count+1, c.held.Bytes+int64(len(c.line))
	if r.Arrived.Before(c.held.Oldest) {
		c.held.Oldest = r.Arrived
	}
	if r.Arrived.After(c.held.Newest) {
		c.held.Newest = r.Arrived
	}
	return nil
}

// Flushed is the object that a Flush has added to the chain, or met there.
type Flushed struct {
	Key  string
	Meta Meta
	Size int // of the body
	// Adopted: another writer wrote it, or this one by an attempt whose answer
	// was lost.
	Adopted bool
	// Reread: it ends before what was held, which is forgotten: read the shard
	// again behind Chain.Last.
	Reread bool
}

// Flush makes durable what is held. After an error all of it is held still, and
// nothing is to be added: call it again.
func (c *Chain) Flush(ctx context.Context) (Flushed, error) {
	if c.held.Count == 0 {
		return Flushed{}, nil
	}
	if c.packer != nil { // the first attempt
		if err := c.packer.Close(); err != nil {
			return Flushed{}, fmt.Errorf("compress records: %w", err)
		}
		packers.Put(c.packer)
		c.packer = nil
	}
	if c.doubt {
		key, meta, err := c.find(ctx)
		if err != nil {
			return Flushed{}, err
		}
		if key != "" {
			return c.pass(Flushed{Key: key, Meta: meta, Adopted: true}), nil
		}
	}
	f := Flushed{Key: c.shard.Key(c.first), Meta: c.held, Size: c.body.Len()}
	created, err := c.store.PutNew(ctx, f.Key, c.body.Bytes(), c.held.encode())
	if err != nil {
		return Flushed{}, fmt.Errorf("back up %d records: %w", c.held.Count, err)
	}
	if !created {
		f.Adopted, f.Size = true, 0
		if f.Meta, err = c.meta(ctx, f.Key); err != nil {
			return Flushed{}, err
		}
		if telemetry.ComparePositions(f.Meta.Last, c.first.Sequence) < 0 {
			return Flushed{}, fmt.Errorf("adopt %s: it says that it ends at %s, before it begins", f.Key, f.Meta.Last)
		}
	}
	return c.pass(f), nil
}

// find returns the object that holds the first of what is held, if one that
// begins before it does. No object spans two hours, so it is in the partition
// of that record.
func (c *Chain) find(ctx context.Context) (key string, meta Meta, err error) {
	before := ""
	for k, err := range c.store.Keys(ctx, c.shard.folder(c.first.Arrived)) {
		if err != nil {
			return "", meta, fmt.Errorf("look up the chain: %w", err)
		}
		n, ours := ParseKey(k)
		if !ours || telemetry.ComparePositions(n.First, c.first.Sequence) >= 0 {
			continue
		}
		if before == "" || telemetry.ComparePositions(n.First, before) > 0 {
			key, before = k, n.First
		}
	}
	if key == "" {
		return "", meta, nil
	}
	if meta, err = c.meta(ctx, key); err != nil || telemetry.ComparePositions(meta.Last, c.first.Sequence) < 0 {
		return "", meta, err
	}
	return key, meta, nil
}

func (c *Chain) meta(ctx context.Context, key string) (Meta, error) {
	text, err := c.store.Meta(ctx, key)
	if err != nil {
		return Meta{}, fmt.Errorf("adopt an object: %w", err)
	}
	m, err := ParseMeta(text)
	if err != nil {
		return m, fmt.Errorf("adopt %s: %w", key, err)
	}
	return m, nil
}

// pass moves the end of the chain, and lets go of what was held.
func (c *Chain) pass(f Flushed) Flushed {
	f.Reread = telemetry.ComparePositions(f.Meta.Last, c.held.Last) < 0
	c.last, c.held, c.doubt, c.gap = f.Meta.Last, Meta{}, false, false
	return f
}
