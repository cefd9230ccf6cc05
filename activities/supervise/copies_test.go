package supervise

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/ledger"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/bucket"
	"millrace/test/kit/made"
)

// listed are shards.
type listed []string

func (l listed) Shards(context.Context) (shards []stream.Shard, err error) {
	for _, id := range l {
		shards = append(shards, stream.Shard{ID: id})
	}
	return shards, nil
}

func TestOpenCopiesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ledger.New(bucket.New(), "telemetry")
		s := &Supervisor{Stream: made.Stream, Shards: listed{"a", "b", "c"}, Ledger: l}
		add := func(shard, first, last string, age time.Duration) string {
			e := ledger.Entry{Kind: ledger.Bulk, Held: &ledger.Holder{By: "batch/1", Run: "r"}, Range: telemetry.Range{
				StreamARN: made.Stream.ARN, StreamCreated: made.Stream.Created, Shard: shard, First: first, Last: last,
			}, Records: []ledger.Record{{Arrived: time.Now().Add(-age)}}}
			key, err := l.Add(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
		add("a", "99", "99", 3*time.Hour) // before 100, though not as a text
		oldest := add("a", "98", "98", 13*time.Hour)
		add("a", "100", "120", 2*time.Hour)
		add("c", "5", "6", time.Hour)
		if err := l.Resolve(t.Context(), add("b", "1", "1", 50*time.Hour), ledger.Resolution{How: ledger.HowReleased}); err != nil {
			t.Fatal(err)
		}
		if copies, age, err := s.countCopies(t.Context()); copies != 4 || age != 13*time.Hour || err != nil {
			t.Errorf("%d copies, the oldest of %v, %v", copies, age, err)
		}
		if err := l.Resolve(t.Context(), oldest, ledger.Resolution{How: ledger.HowReleased}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.watchCopies(ctx)
		}()
		synctest.Wait()
		registry := prometheus.NewRegistry()
		registry.MustRegister(openCopies, oldestCopy)
		said := func() (values []float64) {
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				for _, metric := range family.GetMetric() {
					values = append(values, metric.GetGauge().GetValue())
				}
			}
			return values
		}
		if got := said(); !slices.Equal(got, []float64{3, (3 * time.Hour).Seconds()}) {
			t.Errorf("the gauges say %v", got)
		}
		cancel()
		<-ended
		if got := said(); len(got) > 0 {
			t.Errorf("the gauges outlive the call, with %v", got)
		}
	})
}
