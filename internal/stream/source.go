package stream

import (
	"context"
	"errors"
	"time"
)

// position is where a source begins to read.
type position struct {
	sequence string // AT this record; empty: at TRIM_HORIZON
}

// batch is what a source read in one go.
type batch struct {
	records  []Record
	memory   *memory // in which they lie, if it can be used again
	behind   time.Duration
	answered time.Time // by the service's clock, where it tells
	end      bool
	gone     bool     // the shard has left the stream
	children []string // known at the end of the shard, or not
}

// source is one way to read a shard: polling, or enhanced fan-out.
type source interface {
	// open begins to read at a position. What it had open before is closed.
	open(ctx context.Context, at position) error
	// next returns what comes next, which may be nothing. errRenew and
	// iterators that expired mean to open it again.
	next(ctx context.Context) (batch, error)
	close()
}

// errRenew says that a source came to its natural end: open it again.
var errRenew = errors.New("subscription ended")
