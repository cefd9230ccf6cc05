package console

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Objective is the delay in seconds within which 99 % of the records are to be indexed: that
// of deploy/observability.
const Objective = 2.5

// Delay is the time from the receipt of records to their place in the index.
type Delay struct {
	Region    string   `json:"region,omitempty"` // of the collectors of these records; empty: all
	P50       *float64 `json:"p50"`              // seconds, at present
	P99       *float64 `json:"p99"`
	Objective float64  `json:"objective"` // seconds
	Source    string   `json:"source"`    // of Points: prometheus or console
	Points    []Point  `json:"points"`    // the oldest first
	Error     string   `json:"error,omitempty"`
}

// Point is one moment of the history.
type Point struct {
	At       int64    `json:"at"`  // seconds since 1970
	P50      *float64 `json:"p50"` // seconds; null: nothing was indexed
	P99      *float64 `json:"p99"`
	Accepted *float64 `json:"accepted"` // records a second
	Indexed  *float64 `json:"indexed"`

	regions map[string]quantiles // of the delay
}

// quantiles are those of a distribution, in seconds; nil: it is empty.
type quantiles struct{ p50, p99 *float64 }

// of is the delay of the records of a region alone.
func (d Delay) of(region string) Delay {
	d.Region, d.Points = region, slices.Clone(d.Points)
	for i, p := range d.Points {
		d.Points[i].P50, d.Points[i].P99 = p.regions[region].p50, p.regions[region].p99
	}
	return d
}

const (
	// History is how far back the page looks.
	History = time.Hour
	// pointEvery and mostPoints are of the console's own history.
	pointEvery = 10 * time.Second
	mostPoints = int(History / pointEvery)
	// historyStep is that of a Prometheus.
	historyStep = 15 * time.Second
)

// remember keeps the console's own history.
func (w *Watch) remember(ctx context.Context) {
	for w.await(ctx, pointEvery, true) {
		w.enter(func() {
			w.points = append(w.points, w.point(time.Now()))
			w.points = w.points[max(0, len(w.points)-mostPoints):]
		})
	}
}

func (w *Watch) point(now time.Time) Point {
	p := Point{At: now.Unix(), Accepted: w.rate(now, w.processes, accepted), Indexed: w.rate(now, w.processes, indexed), regions: map[string]quantiles{}}
	p.P50, p.P99 = w.quantiles(now, delays)
	for _, region := range w.delayed() {
		p50, p99 := w.quantiles(now, delays+"/"+region)
		p.regions[region] = quantiles{p50, p99}
	}
	return p
}

// delayed are the regions of the records that workers have indexed.
func (w *Watch) delayed() (regions []string) {
	for _, p := range w.processes {
		regions = append(regions, p.part.Value.regions...)
	}
	slices.Sort(regions)
	return slices.Compact(regions)
}

// quantiles are the median and the 99th percentile of what processes have observed in the window.
func (w *Watch) quantiles(now time.Time, name string) (p50, p99 *float64) {
	buckets := w.spread(now, w.processes, name)
	return quantile(0.5, buckets), quantile(0.99, buckets)
}

// delay fills in the delay and its history: that of a Prometheus, if it has one.
func (w *Watch) delay(s *State, now time.Time) {
	latest := w.point(now)
	s.Delay = Delay{P50: latest.P50, P99: latest.P99, Objective: Objective, Source: "console", Error: s.History.Error}
	if len(s.History.Value) > 0 {
		s.Delay.Source, s.Delay.Points = "prometheus", s.History.Value
		return
	}
	s.Delay.Points = append(append([]Point{}, w.points...), latest)
}

// queries are those of the history, with the window that suits the step, and where their series go.
var queries = []struct {
	query string
	into  func(p *Point, region string, value *float64)
}{
	{delayOf("0.5", "millrace_delay_seconds", "le"), func(p *Point, _ string, v *float64) { p.P50 = v }},
	{delayOf("0.99", "millrace_delay_seconds", "le"), func(p *Point, _ string, v *float64) { p.P99 = v }},
	{delayOf("0.5", "millrace_region_delay_seconds", "le, region"), func(p *Point, region string, v *float64) { p.regions[region] = quantiles{v, p.regions[region].p99} }},
	{delayOf("0.99", "millrace_region_delay_seconds", "le, region"), func(p *Point, region string, v *float64) { p.regions[region] = quantiles{p.regions[region].p50, v} }},
	{`sum(rate(millrace_api_records_total{result="accepted"}[1m]))`, func(p *Point, _ string, v *float64) { p.Accepted = v }},
	{`sum(rate(millrace_process_records_total{outcome="indexed"}[1m]))`, func(p *Point, _ string, v *float64) { p.Indexed = v }},
}

func delayOf(q, metric, by string) string {
	return `histogram_quantile(` + q + `, sum by (` + by + `) (rate(` + metric + `_bucket[1m])))`
}

// Prometheus asks one for the history.
func Prometheus(address string) (func(context.Context) ([]Point, error), error) {
	client, err := api.NewClient(api.Config{Address: address, RoundTripper: &http.Transport{Proxy: http.ProxyFromEnvironment}})
	if err != nil {
		return nil, fmt.Errorf("make the client of Prometheus: %w", err)
	}
	ask := v1.NewAPI(client)
	return func(ctx context.Context) ([]Point, error) {
		end := time.Now().Truncate(historyStep)
		points := make([]Point, int(History/historyStep)+1)
		begin := end.Add(-History)
		for i := range points {
			points[i].At, points[i].regions = begin.Add(time.Duration(i)*historyStep).Unix(), map[string]quantiles{}
		}
		some := false
		for _, q := range queries {
			value, _, _, err := ask.QueryRange(ctx, q.query, v1.Range{Start: begin, End: end, Step: historyStep})
			if err != nil {
				return nil, fmt.Errorf("ask Prometheus for the history: %w", err)
			}
			matrix, _ := value.(model.Matrix)
			for _, series := range matrix {
				region := cmp.Or(string(series.Metric["region"]), unnamed)
				for _, pair := range series.Values {
					v := float64(pair.Value)
					i := int(pair.Timestamp.Time().Sub(begin) / historyStep)
					if math.IsNaN(v) || math.IsInf(v, 0) || i < 0 || i >= len(points) {
						continue
					}
					some = true
					q.into(&points[i], region, &v)
				}
			}
		}
		if !some {
			return nil, nil
		}
		return points, nil
	}, nil
}
