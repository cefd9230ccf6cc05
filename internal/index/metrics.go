package index

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	requestSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "millrace_index_request_seconds",
		Help:    "Time of bulk requests, by the class of their outcome as a whole.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 14), // 5 ms to 41 s, past DefaultTimeout
	}, []string{"class"})
	requestBytes = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_index_request_bytes_total",
		Help: "Bytes of bulk requests sent.",
	})
	documents = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_index_documents_total",
		Help: "Documents answered, by class; duplicate: indexed earlier.",
	}, []string{"class"})
)
