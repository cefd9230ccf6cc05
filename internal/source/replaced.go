package source

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// StreamReplaced is the type of an error that no retry helps against: the stream
// was deleted, and made anew under its name. Its details are how far the call
// came.
const StreamReplaced = "StreamReplaced"

// Replaced is that error.
func Replaced(by *stream.ReplacedError, progress any) error {
	return temporal.NewNonRetryableApplicationError(by.Error(), StreamReplaced, nil, progress)
}

// Gone is what is left to be read of an earlier stream, whose name a later one has now:
// nothing.
func Gone(earlier, now telemetry.StreamID) Source {
	return gone{stream.ReplacedError{Name: earlier.Name, Created: earlier.Created, Anew: now.Created}}
}

// gone is a stream that was deleted, and made anew.
type gone struct{ replaced stream.ReplacedError }

// Read returns a reader that says so.
func (g gone) Read(string, telemetry.Checkpoint) Reader { return g }

// Next says that the stream was made anew.
func (g gone) Next(context.Context) (stream.Page, error) { return stream.Page{}, &g.replaced }

// Close has nothing to close.
func (gone) Close() {}

// Fetch finds nothing: what was copied to the ledger in time is there.
func (gone) Fetch(context.Context, telemetry.Range) ([]stream.Record, error) { return nil, nil }

// CurrentRetention is not known.
func (gone) CurrentRetention(context.Context) time.Duration { return 0 }

// Replacement keeps, of what reading a shard ends with, that the stream was made
// anew, and how far it was read by then.
type Replacement struct {
	Last telemetry.Checkpoint
	By   *stream.ReplacedError
}

// Read passes a reader's answer on. That the stream was made anew is no error,
// since to try again helps nothing.
func (r *Replacement) Read(page stream.Page, err error) error {
	if errors.As(err, &r.By) {
		return nil
	}
	if n := len(page.Records); n > 0 {
		r.Last.Sequence = page.Records[n-1].Sequence
	}
	if err == nil {
		r.Last.ReadUpTo = page.ReadUpTo
	}
	return err
}

// Loss is all that came behind what was read.
func (r *Replacement) Loss() *stream.Loss {
	return &stream.Loss{After: r.Last.Sequence, From: r.Last.ReadUpTo, To: r.By.Anew, Anew: r.By.Anew}
}
