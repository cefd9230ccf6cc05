package process

import (
	"context"
	"fmt"
	"testing"
	"time"

	"millrace/bench/data"
	"millrace/internal/circuit"
	"millrace/internal/container"
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// BenchmarkPipeline moves records from pages to a sink that takes all, which leaves what the worker itself computes between
// the answers of Kinesis and the requests to Elasticsearch. It reports the time for each document.
func BenchmarkPipeline(b *testing.B) {
	for name, documents := range map[string]int{"singles": 0, "packs": 100} {
		b.Run(name, func(b *testing.B) {
			const each = 200_000
			records := benchRecords(each, documents)
			b.ReportAllocs()
			for b.Loop() {
				p := New(Processor{
					Stream: telemetry.StreamID{Name: "s"},
					Indexer: indexing.New(indexing.Settings{
						Bulk: taking{}, Limiter: limiter.New(8, 0), Seen: dedup.New(dedup.DefaultCapacity), Delay: delay.New(), CompareRate: DefaultCompareRate,
					}),
				})
				m := newMark(telemetry.Checkpoint{}, indexing.Counts{})
				line := newPipeline(b.Context(), p, "shard", circuit.New(circuit.Settings{}), m)
				line.run(&paging{records: records})
				line.work.call.Abandon()
				if got := m.state().counts.Indexed; got != each {
					b.Fatalf("%d records are indexed, want %d", got, each)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*each), "ns/document")
		})
	}
}

// benchRecords are so many documents as records of the stream, with so many documents in a pack; 0: without packs.
func benchRecords(count, documents int) (records []stream.Record) {
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	sequence := func() string {
		return fmt.Sprintf("495903383612345678901234567890123456789012345678%08d", len(records))
	}
	if documents == 0 {
		for _, d := range data.Records(count, at) {
			records = append(records, stream.Record{Sequence: sequence(), Arrived: at, Data: d})
		}
		return records
	}
	for all := data.Records(count, at); len(all) > 0; all = all[documents:] {
		records = append(records, stream.Record{Sequence: sequence(), Arrived: at, Data: container.AppendPack(nil, all[:documents])})
	}
	return records
}

// paging reads records in pages of about a MiB.
type paging struct{ records []stream.Record }

func (*paging) Close() {}

func (r *paging) Next(context.Context) (stream.Page, error) {
	n, size := 0, 0
	for ; n < len(r.records) && size < 1<<20; n++ {
		size += len(r.records[n].Data)
	}
	page := stream.Page{Records: r.records[:n], End: n == len(r.records)}
	r.records = r.records[n:]
	return page, nil
}

// taking is a sink that takes all.
type taking struct{}

func (taking) Do(_ context.Context, b *sink.Bulk) sink.Result {
	return sink.Result{Class: outcome.Indexed, Took: time.Millisecond, Bytes: b.Size()}
}
