package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// StreamReplaced is the type of an error that no retry helps against: the stream
// was deleted, and made anew under its name. Its details are how far the call
// came.
const StreamReplaced = "StreamReplaced"

func streamReplaced(by *stream.ReplacedError, progress any) error {
	return temporal.NewNonRetryableApplicationError(by.Error(), StreamReplaced, nil, progress)
}

// of is a processor for a stream: also for an earlier one of the name that this
// worker reads, of which there is nothing more to be read.
func (p *Processor) of(id telemetry.StreamID) (*Processor, error) {
	if !p.Stream.IsEarlier(id) {
		return p, p.Stream.Is(id)
	}
	earlier := *p
	earlier.Stream, earlier.Source = id, goneSource{stream.ReplacedError{Name: id.Name, Created: id.Created, Anew: p.Stream.Created}}
	return &earlier, nil
}

// of is an archivist for a stream, as a processor is.
func (a *Archivist) of(id telemetry.StreamID) (*Archivist, error) {
	if !a.Stream.IsEarlier(id) {
		return a, a.Stream.Is(id)
	}
	earlier := *a
	earlier.Stream, earlier.Source = id, goneSource{stream.ReplacedError{Name: id.Name, Created: id.Created, Anew: a.Stream.Created}}
	return &earlier, nil
}

// goneSource is a stream that was deleted, and made anew.
type goneSource struct{ replaced stream.ReplacedError }

// Read returns a reader that says so.
func (g goneSource) Read(string, telemetry.Checkpoint) Reader { return g }

// Next says that the stream was made anew.
func (g goneSource) Next(context.Context) (stream.Page, error) { return stream.Page{}, &g.replaced }

// Close has nothing to close.
func (goneSource) Close() {}

// Fetch finds nothing: what was copied to the ledger in time is there.
func (goneSource) Fetch(context.Context, telemetry.Range) ([]stream.Record, error) { return nil, nil }

// CurrentRetention is not known.
func (goneSource) CurrentRetention(context.Context) time.Duration { return 0 }

// replacement keeps, of what reading a shard ends with, that the stream was made
// anew, and how far it was read by then.
type replacement struct {
	last telemetry.Checkpoint
	by   *stream.ReplacedError
}

// read passes a reader's answer on. That the stream was made anew is no error,
// since to try again helps nothing.
func (r *replacement) read(page stream.Page, err error) error {
	if errors.As(err, &r.by) {
		return nil
	}
	if n := len(page.Records); n > 0 {
		r.last.Sequence = page.Records[n-1].Sequence
	}
	if err == nil {
		r.last.ReadUpTo = page.ReadUpTo
	}
	return err
}

// loss is all that came behind what was read.
func (r *replacement) loss() *stream.Loss {
	return &stream.Loss{After: r.last.Sequence, From: r.last.ReadUpTo, To: r.by.Anew, Anew: r.by.Anew}
}

// checked is what must hold of a stream that is supervised: a state that was
// known is carried over only to a shard of the same stream.
func (in SuperviseInput) checked(ours telemetry.StreamID) (SuperviseInput, error) {
	if in.Stream != ours.Name {
		return in, fmt.Errorf("supervise stream %s: this worker reads %s", in.Stream, ours.Name)
	}
	switch {
	case in.ID.Created.IsZero() || in.ID.Created.Equal(ours.Created):
	case in.ID.Created.After(ours.Created):
		return in, fmt.Errorf("supervise stream %s of %s: this worker has not noticed yet that it was made anew", in.Stream, in.ID.Created)
	default:
		in.Shards = nil
	}
	return in, nil
}
