package dedup

import "github.com/prometheus/client_golang/prometheus"

// Register publishes the cache's hits, size and evictions. A scrape
// reads them, so that a lookup pays nothing for them.
func (c *Cache) Register(registry prometheus.Registerer) {
	registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "millrace_dedup_hits_total",
			Help: "Records whose id was in the cache: duplicates, unless their content differs.",
		}, func() float64 { return float64(c.Stats().Hits) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "millrace_dedup_ids",
			Help: "Document ids in the cache.",
		}, func() float64 { return float64(c.Stats().Size) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "millrace_dedup_evictions_total",
			Help: "Document ids evicted because the cache was full.",
		}, func() float64 { return float64(c.Stats().Evictions) }),
	)
}
