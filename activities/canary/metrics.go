package canary

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	runs = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_canary_runs_total",
		Help: "Records that the canary posted to the collector of each region, by result: searchable; refused, if the collector did not take it; late, if it could not be searched in time.",
	}, []string{"region", "result"})
	searchable = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "millrace_canary_searchable_seconds",
		Help:    "Time from the canary's post to a collector until a search found its record.",
		Buckets: []float64{0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 30, 60},
	}, []string{"region"})
	// lastRun is a time rather than an age: whichever worker was the last one, the
	// largest of them is right.
	lastRun = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_canary_last_run_timestamp_seconds",
		Help: "End of the canary's last run, or start of this worker if there was none. Take the maximum over all workers.",
	}, []string{"region"})
)

// announce lets an alarm see the first failure, and that there is no run.
func announce(region string) {
	for _, result := range []string{Searchable, Refused, Late} {
		runs.WithLabelValues(region, result)
	}
	lastRun.WithLabelValues(region).SetToCurrentTime()
}

// count publishes what became of a record.
func (p Probe) count() {
	runs.WithLabelValues(p.Region, p.Result).Inc()
	lastRun.WithLabelValues(p.Region).SetToCurrentTime()
	if p.Result == Searchable {
		searchable.WithLabelValues(p.Region).Observe(p.Seconds)
	}
}
