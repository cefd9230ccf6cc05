package recovery

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/longcall"
)

var descWaiting = prometheus.NewDesc("millrace_recover_waiting",
	"Calls of a recovery or replay that have waited for the same thing for more than 20 seconds, by stage: restore, backfill or verify.",
	[]string{"stage"}, nil)

// waitingAfter is how long a call may wait until it counts, as for shards.
const waitingAfter = 20 * time.Second

// calls are those of this process that may wait, by what keeps them.
type calls struct {
	mu     sync.Mutex
	stages map[*longcall.Stall]string
}

var underWay = func() *calls {
	c := &calls{stages: map[*longcall.Stall]string{}}
	prometheus.MustRegister(c)
	return c
}()

// begin enters a call until end is called.
func (c *calls) begin(stage string, stall *longcall.Stall) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stages[stall] = stage
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.stages, stall)
	}
}

// Describe implements prometheus.Collector.
func (c *calls) Describe(to chan<- *prometheus.Desc) { to <- descWaiting }

// Collect implements prometheus.Collector.
func (c *calls) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	under := maps.Clone(c.stages)
	c.mu.Unlock()
	waiting := map[string]float64{restoring: 0, SweepBackfill: 0, SweepVerify: 0}
	for stall, stage := range under {
		if since, _ := stall.State(); !since.IsZero() && time.Since(since) > waitingAfter {
			waiting[stage]++
		}
	}
	for stage, n := range waiting {
		to <- prometheus.MustNewConstMetric(descWaiting, prometheus.GaugeValue, n, stage)
	}
}
