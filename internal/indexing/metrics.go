package indexing

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var lookupsGivenUp = promauto.NewCounter(prometheus.CounterOpts{
	Name: "millrace_process_lookups_given_up_total",
	Help: "Bulks indexed without looking for an earlier document of a record in another index, because that index was unavailable for too long.",
})
