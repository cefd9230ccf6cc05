package supervise

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"millrace/internal/backoff"
	"millrace/internal/ledger"
	"millrace/internal/telemetry"
)

var (
	openCopies = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_batch_copies",
		Help: "Copies in the ledger of records that ProcessBatch workflows have held for more than half of the stream's retention. One worker reports it: the one that runs ProcessStream's activities.",
	}, []string{"stream"})
	oldestCopy = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_batch_oldest_copied_seconds",
		Help: "Age of the oldest record in those copies; 0 if there are none.",
	}, []string{"stream"})
)

// copiesEvery is how often the copies are counted: a list call for each shard.
const copiesEvery = time.Minute

// watchCopies counts the open copies in the ledger, until ctx ends: another
// worker may look after the stream then.
func (s *Supervisor) watchCopies(ctx context.Context) {
	defer openCopies.DeleteLabelValues(s.Stream.Name)
	defer oldestCopy.DeleteLabelValues(s.Stream.Name)
	for {
		copies, oldest, err := s.countCopies(ctx)
		switch {
		case err == nil:
			openCopies.WithLabelValues(s.Stream.Name).Set(float64(copies))
			oldestCopy.WithLabelValues(s.Stream.Name).Set(oldest.Seconds())
		case ctx.Err() == nil:
			slog.Warn("could not count what is held for long, trying again", "stream", s.Stream.Name, "error", err)
		}
		if !backoff.Wait(ctx, copiesEvery) {
			return
		}
	}
}

// countCopies returns how many open copies there are, and the age of the oldest
// record in them: the first one of a shard.
func (s *Supervisor) countCopies(ctx context.Context) (copies int, oldest time.Duration, err error) {
	shards, err := s.Shards.Shards(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, shard := range shards {
		keys, err := s.Ledger.Copies(ctx, telemetry.Range{StreamARN: s.Stream.ARN, StreamCreated: s.Stream.Created, Shard: shard.ID})
		if err != nil {
			return 0, 0, err
		}
		if copies += len(keys); len(keys) == 0 {
			continue
		}
		first := keys[0]
		for _, key := range keys[1:] {
			if a, b := startOf(key, s.Stream.Created), startOf(first, s.Stream.Created); telemetry.ComparePositions(a, b) < 0 {
				first = key
			}
		}
		e, err := s.Ledger.Get(ctx, first)
		if err != nil {
			return 0, 0, err
		}
		if len(e.Records) > 0 {
			oldest = max(oldest, time.Since(e.Records[0].Arrived))
		}
	}
	return copies, oldest, nil
}

func startOf(key string, created time.Time) string {
	r, _ := ledger.CopyOf(key, created)
	return r.First
}
