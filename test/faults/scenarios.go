package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"millrace/deploy/pipeline"
	"millrace/test/faultproxy"
)

// scenario is one kind of fault under a load of its own.
type scenario struct {
	number          int // in the list of faults that the project promises to survive
	name            string
	duplicates, bad float64 // shares of the load

	aws, elasticsearch []faultproxy.Rule // each must be seen in a proxy's log

	// fault runs beside the load, with the rules in place, and ends the
	// fault; nil leaves the rules until the load is over.
	fault func(ctx context.Context, s *running) error
}

// outage is how long faults last that are about time.
const outage = 10 * time.Second

// held keeps an answer back for longer than it takes to kill who waits for it.
var held = faultproxy.Delay{After: 20 * time.Second}

var scenarios = []scenario{
	{
		number: 1, name: "worker-killed-before-checkpoint",
		elasticsearch: []faultproxy.Rule{{Name: "1 answer held", Path: "/_bulk", Fault: held}},
		fault: func(ctx context.Context, s *running) error {
			// Documents are there and no bulk was answered: no mark can be.
			if err := s.until(ctx, func() (bool, error) {
				indexed, err := s.stores.Indexed(ctx)
				return indexed > 0, err
			}); err != nil {
				return err
			}
			return s.kill(ctx, s.worker)
		},
	},
	{
		number: 2, name: "elasticsearch-429",
		elasticsearch: []faultproxy.Rule{{Name: "2 too many", Path: "/_bulk", Fault: faultproxy.Answer{Status: http.StatusTooManyRequests}}},
		fault:         lasting,
	},
	{
		number: 4, name: "bulk-answer-lost",
		elasticsearch: []faultproxy.Rule{
			{Name: "4 truncated", Path: "/_bulk", Share: 0.3, Fault: faultproxy.Truncate{Keep: 0.5}},
			{Name: "4 applied", Path: "/_bulk", Share: 0.3, Fault: faultproxy.Applied{After: time.Second}},
		},
	},
	{
		number: 5, name: "stream-throttled",
		aws:   []faultproxy.Rule{{Name: "5 throttled", Operation: "PutRecords", Fault: faultproxy.Throttle()}},
		fault: lasting,
	},
	{
		number: 6, name: "entries-rejected",
		aws: []faultproxy.Rule{{Name: "6 rejected", Operation: "PutRecords", Fault: faultproxy.RejectEntries{Share: 0.3}}},
	},
	{
		number: 7, name: "stream-and-queue-down",
		aws: []faultproxy.Rule{
			{Name: "7 stream", Operation: "PutRecords", Fault: faultproxy.Reset{}},
			{Name: "7 queue", Operation: "SendMessageBatch", Fault: faultproxy.Reset{}},
		},
		fault: lasting,
	},
	{
		number: 8, name: "collector-killed-before-answer",
		aws: []faultproxy.Rule{{Name: "8 answer held", Operation: "PutRecords", Fault: faultproxy.Delay{After: 5 * time.Second}}},
		fault: func(ctx context.Context, s *running) error {
			// The stream has taken records and nobody was told.
			if err := s.until(ctx, func() (bool, error) {
				indexed, err := s.stores.Indexed(ctx)
				return indexed > 0, err
			}); err != nil {
				return err
			}
			return s.kill(ctx, s.collector)
		},
	},
	{
		number: 9, name: "duplicates-across-restart", duplicates: 0.3,
		fault: func(ctx context.Context, s *running) error {
			half := s.options.Records / 2
			if err := s.until(ctx, func() (bool, error) { return s.sender.Accepted.Len() >= half, nil }); err != nil {
				return err
			}
			return s.kill(ctx, s.worker)
		},
	},
	{number: 10, name: "scattered-poison", bad: 0.005},
}

// lasting leaves the rules for a while.
func lasting(ctx context.Context, _ *running) error {
	select {
	case <-time.After(outage):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends a program as kill -9 does, ends the faults, and starts it again.
func (s *running) kill(ctx context.Context, program *pipeline.Program) error {
	pid := program.Pid()
	program.Kill()
	select {
	case <-program.Ended():
	default:
		return fmt.Errorf("process %d outlived its kill", pid)
	}
	s.pass()
	return program.Restart(ctx)
}

// choose returns the scenarios of these numbers or names; all without any.
func choose(only []string) ([]scenario, error) {
	if len(only) == 0 {
		return scenarios, nil
	}
	var chosen []scenario
	for _, wanted := range only {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == wanted || strconv.Itoa(s.number) == wanted })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q", wanted)
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}
