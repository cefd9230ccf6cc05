package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// sampleEvery is how often --watch looks.
const sampleEvery = time.Second

// note tells those who watch.
func (s *running) note(what string) {
	if s.options.Watch {
		fmt.Println(what)
	}
}

// sample prints how the worker adapts, until the function that it returns is
// called. A worker that does not run has no line.
func (s *running) sample(ctx context.Context) (stop func()) {
	if !s.options.Watch {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	began, last := time.Now(), 0.0
	start, _ := s.worker.Metric(ctx, "millrace_process_records_total") // not there yet: 0
	fmt.Printf("%8s %12s %10s %8s %10s %10s %10s\n", "time", "concurrency", "in flight", "waiting", "accepted", "records/s", "backlog")
	done.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var figures []float64
			for _, name := range []string{
				"millrace_index_concurrency_limit", "millrace_index_requests_in_flight", "millrace_index_requests_waiting", "millrace_process_records_total",
			} {
				value, err := s.worker.Metric(ctx, name)
				if err != nil {
					break
				}
				figures = append(figures, value)
			}
			if len(figures) < 4 {
				continue
			}
			accepted, processed := float64(s.sender.Accepted.Len()), figures[3]-start
			fmt.Printf("%6.0f s %12.1f %10.0f %8.0f %10.0f %10.0f %10.0f\n", time.Since(began).Seconds(),
				figures[0], figures[1], figures[2], accepted, (processed-last)/sampleEvery.Seconds(), max(0, accepted-processed))
			last = processed
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}
