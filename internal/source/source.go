package source

import (
	"context"
	"time"

	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Reader reads one shard from where it was opened. Next waits for its turn and
// returns an empty page while the shard is idle; after an error it can be
// called again. See stream.Reader.
type Reader interface {
	Next(ctx context.Context) (stream.Page, error)
	Close()
}

// Source opens what a shard holds.
type Source interface {
	// Read begins behind a checkpoint. It makes no call.
	Read(shard string, from telemetry.Checkpoint) Reader
	// Fetch returns the records of a range that the stream still has.
	Fetch(ctx context.Context, r telemetry.Range) ([]stream.Record, error)
	// CurrentRetention is how long the stream keeps a record; zero if that is
	// not known.
	CurrentRetention(ctx context.Context) time.Duration
}

// Stream is a Kinesis stream as a Source.
type Stream struct{ *stream.Stream }

// Read begins behind a checkpoint.
func (s Stream) Read(shard string, from telemetry.Checkpoint) Reader {
	return s.Reader(shard, from)
}
