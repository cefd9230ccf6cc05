package console

import (
	"cmp"
	"slices"
	"time"
)

// Rate is what flows along an edge of the picture.
type Rate struct {
	Records *float64 `json:"records"` // a second
	Total   float64  `json:"total"`   // since the console started
}

// exceeds reports whether it is known to be more than a share of another.
func (r Rate) exceeds(share float64, of Rate) bool {
	return r.Records != nil && of.Records != nil && *r.Records > share*(*of.Records)
}

// Region is what agents of a region get from its collectors, and how long their records take.
type Region struct {
	Region     string   `json:"region"`
	Collectors int      `json:"collectors"`
	Accepted   *float64 `json:"accepted"` // records a second
	Refused    *float64 `json:"refused"`  // records a second, for whatever reason
	P50        *float64 `json:"p50"`      // seconds from the head of a request to its answer
	P99        *float64 `json:"p99"`
	DelayP50   *float64 `json:"delayP50"` // seconds from received to indexed
	DelayP99   *float64 `json:"delayP99"`
}

// Way is how records get to the stream: through a workflow, directly, or through the queue.
type Way struct {
	Way     string   `json:"way"`
	Records *float64 `json:"records"` // a second
	P50     *float64 `json:"p50"`     // seconds until a batch is durable; by the queue, from received until in the stream
	P99     *float64 `json:"p99"`
}

// Edges of the picture, and the counters whose sum flows there.
var edges = map[string][]string{
	"accepted":   {accepted},
	"refused":    {rejected, throttled, unavailable, unread},
	"temporal":   {byTemporal},
	"direct":     {directly},
	"stream":     {toStream},
	"queue":      {toQueue},
	"buried":     {toLedger},
	"redriven":   {redriven},
	"processed":  {processed},
	"indexed":    {indexed},
	"duplicates": {duplicates, conflicts, unchecked},
	"dead":       {deadLetters},
	"parked":     {parked},
	"handedOver": {handedOver},
	"backedUp":   {backedUp},
	"recovered":  {recovered},
	"losses":     {losses, lostCopies},
}

// flow fills in what is known from /metrics.
func (w *Watch) flow(s *State, now time.Time) {
	s.Processes, s.Edges = []Process{}, map[string]Rate{}
	for _, p := range w.processes {
		s.Processes = append(s.Processes, p.show())
		s.Missing += p.part.Value.residual
	}
	for name, of := range edges {
		var r Rate
		r.Records = w.rate(now, w.processes, of...)
		for _, p := range w.processes {
			for _, counter := range of {
				r.Total += p.total[counter]
			}
		}
		s.Edges[name] = r
	}
	s.Regions = w.regions(now)
	s.Ways = []Way{}
	for _, way := range []struct{ name, records, took string }{
		{byTemporal, byTemporal, durable + byTemporal}, {directly, directly, durable + directly}, {toQueue, redriven, arriving},
	} {
		p50, p99 := w.quantiles(now, way.took)
		s.Ways = append(s.Ways, Way{way.name, w.rate(now, w.processes, way.records), p50, p99})
	}
}

// rate sums what processes count; nil if none answers.
func (*Watch) rate(now time.Time, of []*process, names ...string) *float64 {
	var sum *float64
	for _, p := range of {
		for _, name := range names {
			if r, known := p.rate(name, now); known {
				if sum == nil {
					sum = new(float64)
				}
				*sum += r
			}
		}
	}
	return sum
}

func (*Watch) spread(now time.Time, of []*process, name string) map[float64]float64 {
	buckets := map[float64]float64{}
	for _, p := range of {
		p.spread(name, now, buckets)
	}
	return buckets
}

// regions are those of the collectors, and of the records that workers index.
func (w *Watch) regions(now time.Time) []Region {
	of := map[string][]*process{}
	for _, p := range w.processes {
		if p.Kind == Collector {
			region := cmp.Or(p.part.Value.region, unnamed)
			of[region] = append(of[region], p)
		}
	}
	for _, region := range w.delayed() {
		if _, known := of[region]; !known { // its collectors are not read
			of[region] = nil
		}
	}
	regions := []Region{}
	for region, collectors := range of {
		buckets := w.spread(now, collectors, answers)
		r := Region{
			Region: region, Collectors: len(collectors), Accepted: w.rate(now, collectors, accepted),
			Refused: w.rate(now, collectors, edges["refused"]...), P50: quantile(0.5, buckets), P99: quantile(0.99, buckets),
		}
		r.DelayP50, r.DelayP99 = w.quantiles(now, delays+"/"+region)
		regions = append(regions, r)
	}
	slices.SortFunc(regions, func(a, b Region) int { return cmp.Compare(a.Region, b.Region) })
	return regions
}
