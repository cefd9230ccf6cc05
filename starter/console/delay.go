package console

import (
	"context"
	"fmt"
	"math"
	"net/http"
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
	P50       *float64 `json:"p50"` // seconds, at present
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
	buckets := w.spread(now, w.processes, delays)
	return Point{
		At: now.Unix(), P50: quantile(0.5, buckets), P99: quantile(0.99, buckets),
		Accepted: w.rate(now, w.processes, accepted), Indexed: w.rate(now, w.processes, indexed),
	}
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

// queries are those of the history, with the window that suits the step.
var queries = [...]string{
	`histogram_quantile(0.5, sum by (le) (rate(millrace_delay_seconds_bucket[1m])))`,
	`histogram_quantile(0.99, sum by (le) (rate(millrace_delay_seconds_bucket[1m])))`,
	`sum(rate(millrace_api_records_total{result="accepted"}[1m]))`,
	`sum(rate(millrace_process_records_total{outcome="indexed"}[1m]))`,
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
			points[i].At = begin.Add(time.Duration(i) * historyStep).Unix()
		}
		some := false
		for n, query := range queries {
			value, _, _, err := ask.QueryRange(ctx, query, v1.Range{Start: begin, End: end, Step: historyStep})
			if err != nil {
				return nil, fmt.Errorf("ask Prometheus for the history: %w", err)
			}
			series, is := value.(model.Matrix)
			if !is || len(series) == 0 {
				continue
			}
			for _, pair := range series[0].Values {
				v := float64(pair.Value)
				i := int(pair.Timestamp.Time().Sub(begin) / historyStep)
				if math.IsNaN(v) || math.IsInf(v, 0) || i < 0 || i >= len(points) {
					continue
				}
				some = true
				*[...]**float64{&points[i].P50, &points[i].P99, &points[i].Accepted, &points[i].Indexed}[n] = &v
			}
		}
		if !some {
			return nil, nil
		}
		return points, nil
	}, nil
}
