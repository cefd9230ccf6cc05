package stream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	putRecords = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_stream_put_records_total",
		Help: "Records sent with PutRecords, by result: taken, or the error code.",
	}, []string{"result"})
	putEntries = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_stream_put_entries_total",
		Help: "Records of the stream that were taken: containers count as one.",
	})
	putBytes = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_stream_put_bytes_total",
		Help: "Bytes of the records of the stream that were taken.",
	})
	readCalls = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_stream_read_calls_total",
		Help: "Calls and subscription events that read a shard, by result: ok, or the error code.",
	}, []string{"result"})
	readRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_stream_read_records_total",
		Help: "Records read from shards.",
	})
	readBytes = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_stream_read_bytes_total",
		Help: "Bytes of the records read from shards.",
	})
	readWaits = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_stream_read_wait_seconds_total",
		Help: "Time for which reads waited for the budget of their shard.",
	})
	retentionSeconds = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_stream_retention_seconds",
		Help: "How long the stream keeps a record, as this process last read it; 0 before that.",
	})
	losses = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_stream_possible_losses_total",
		Help: "Readers that found records after their checkpoint trimmed.",
	})
)

// count enters how the records of one Put ended.
func (p *put) count(records int) {
	putRecords.WithLabelValues("taken").Add(float64(records - len(p.rejected)))
	for _, r := range p.rejected {
		putRecords.WithLabelValues(r.Code).Inc()
	}
}

// countRead enters one answer to a read.
func countRead(err error, records []Record) {
	result := "ok"
	if err != nil {
		if result = code(err); result == "" {
			result = CodeUnavailable
		}
	}
	readCalls.WithLabelValues(result).Inc()
	size := 0
	for _, r := range records {
		size += len(r.Data)
	}
	readRecords.Add(float64(len(records)))
	readBytes.Add(float64(size))
}

func countWait(d time.Duration) { readWaits.Add(max(0, d.Seconds())) }
