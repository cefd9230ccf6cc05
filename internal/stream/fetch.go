package stream

import (
	"context"
	"fmt"
	"time"

	"millrace/internal/telemetry"
)

// Fetch returns the records of a range that the stream still has, in order; of containers their documents.
// Of a shard that is past the stream's retention that is none. It makes one
// attempt, within the shard's budget: after an error, try again.
func (s *Stream) Fetch(ctx context.Context, r telemetry.Range) ([]Record, error) {
	if !r.StreamCreated.IsZero() && !r.StreamCreated.Equal(s.created) {
		return nil, nil // it was in an earlier stream of that name
	}
	records, err := s.fetch(ctx, r)
	if err == nil && len(records) < r.Count {
		// Another stream may be there under the name.
		err = s.confirm(ctx, time.Now())
	}
	return records, err
}

func (s *Stream) fetch(ctx context.Context, r telemetry.Range) ([]Record, error) {
	// A page of more than is asked for would spend what live readers need.
	p := s.poller(r.Shard, min(max(r.Count, 1), s.settings.LimitPerCall))
	err := p.open(ctx, position{sequence: telemetry.SequenceOf(r.First)})
	if unknownSequence(err) { // trimmed, most likely
		err = p.open(ctx, position{})
	}
	if code(err) == codeNotFound {
		return nil, nil
	}
	var records []Record
	for err == nil {
		var b batch
		if b, err = p.next(ctx); err != nil {
			break
		}
		for _, record := range b.records {
			if telemetry.ComparePositions(record.Sequence, r.Last) > 0 {
				return records, nil
			}
			for _, d := range record.Documents() {
				if r.Contains(d.Sequence) {
					records = append(records, d)
				}
			}
			if record.Sequence == telemetry.SequenceOf(r.Last) {
				return records, nil
			}
		}
		if b.end || len(b.records) == 0 && b.behind == 0 {
			return records, nil
		}
	}
	return nil, fmt.Errorf("fetch %s of %s: %w", r, s.name, err)
}
