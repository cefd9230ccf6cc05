package process

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"millrace/internal/ledger"
	"millrace/internal/queue"
	"millrace/internal/sink"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// letterBox counts the letters about each record, by its id. Chunks send letters at
// the same time, so one lock guards all boxes.
type letterBox map[string]int

var letterBoxes sync.Mutex

func (letterBox) Fits(queue.DeadLetter) bool { return true }

func (l letterBox) Send(_ context.Context, letters []queue.DeadLetter) ([]int, error) {
	letterBoxes.Lock()
	defer letterBoxes.Unlock()
	for _, letter := range letters {
		for _, r := range letter.Millrace.Records {
			l[r.ID]++
		}
	}
	return nil, nil
}

// deaf is a queue that takes no letters.
type deaf struct{ letterBox }

func (deaf) Send(context.Context, []queue.DeadLetter) ([]int, error) {
	return []int{0}, errors.New("the dead-letter queue is away")
}

// noteless is a ledger that takes entries and no notes about them.
type noteless struct {
	*ledger.Ledger
	asked func()
}

func (n noteless) NoteUntold(context.Context, string) error {
	n.asked()
	return errors.New("the ledger is away")
}

// shortSource answers its first calls with less than it has.
type shortSource struct {
	source.Source
	gives []int // records, of each of these calls
}

func (s *shortSource) Fetch(ctx context.Context, r telemetry.Range) ([]stream.Record, error) {
	records, err := s.Source.Fetch(ctx, r)
	if len(s.gives) > 0 {
		records, s.gives = records[:s.gives[0]], s.gives[1:]
	}
	return records, err
}

// awayLookup finds nothing out.
type awayLookup struct{}

func (awayLookup) Find(context.Context, []sink.Reference) ([]sink.Found, error) {
	return nil, errors.New("away")
}

// digests are the documents that are indexed, by id.
type digests map[string]telemetry.Digest

func (d digests) Find(_ context.Context, documents []sink.Reference) ([]sink.Found, error) {
	found := make([]sink.Found, len(documents))
	for n, of := range documents {
		found[n].Digest, found[n].There = d[of.ID]
	}
	return found, nil
}

// posted is a record of an id that says something.
func posted(id int, says telemetry.Digest) stream.Record {
	return stream.Record{Sequence: made.Sequence(id), Data: telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-log-2026.11.23", Digest: says, ReceivedAt: made.Arrival, Tenant: "acme", ID: fmt.Sprint(id), Type: "log", Timestamp: made.Arrival,
	}, []byte(`{}`))}
}
