package batching

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"millrace/internal/pack"
	"millrace/internal/requestid"
	"millrace/workflows"
)

// Starter starts the workflow of a batch. See workflows.Launcher.
type Starter interface {
	StartIngest(ctx context.Context, id string, batch []byte) error
}

// Intake is the direct way. It returns the positions of records that are not
// durable yet. See intake.Writer.
type Intake interface {
	Put(ctx context.Context, batch string, records [][]byte) (left []int, err error)
}

// sender makes one batch after the other durable.
type sender struct {
	settings Settings
	starter  Starter
	direct   Intake
	breaker  breaker
}

// send returns when all records are durable, by one way or the other. ctx holds the
// batch's span, and does not end.
func (s *sender) send(ctx context.Context, records [][]byte) (batch requestid.Batch, err error) {
	batch.UUID = newUUID()
	id := workflows.IngestID(batch.UUID.String())
	if s.settings.Mode == Temporal && s.breaker.allows() {
		begun := time.Now()
		err := s.start(ctx, id, records)
		s.breaker.report(err)
		if err == nil {
			sent(begun, "temporal", len(records))
			return batch, nil
		}
		startsFailed.Inc()
	}
	batch.Direct = true
	begun := time.Now()
	if err := s.put(ctx, id, records); err != nil {
		return batch, err
	}
	sent(begun, "direct", len(records))
	return batch, nil
}

// newUUID makes an id that sorts by time.
func newUUID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil { // no randomness: nothing here would work
		panic(fmt.Sprintf("make a UUID: %v", err))
	}
	return id
}

// start starts the workflow of a batch: of its halves, each under an id of its
// own, when it is too large for one.
func (s *sender) start(ctx context.Context, id string, records [][]byte) error {
	half := len(records) / 2
	halves := func() error {
		return errors.Join(s.start(ctx, id+"-1", records[:half]), s.start(ctx, id+"-2", records[half:]))
	}
	if half > 0 && pack.Size(records) > pack.MaxUnpackedSize {
		return halves()
	}
	blob := pack.Pack(records)
	if half > 0 && len(blob) > maxPack {
		return halves()
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.StartTimeout)
	defer cancel()
	return s.starter.StartIngest(ctx, id, blob)
}

// Waits between attempts of the direct way.
const firstWait, longestWait = 100 * time.Millisecond, time.Second

// put takes the direct way.
func (s *sender) put(ctx context.Context, id string, records [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.settings.DirectTimeout)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		left, err := s.direct.Put(ctx, id, records)
		if len(left) == 0 {
			return nil
		}
		rest := make([][]byte, len(left))
		for n, at := range left {
			rest[n] = records[at]
		}
		records = rest
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			failedRecords.Add(float64(len(left)))
			return fmt.Errorf("put a batch directly: %w", err)
		}
	}
}
