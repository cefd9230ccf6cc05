package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"millrace/deploy/local"
	"millrace/internal/container"
	"millrace/internal/load"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// scenario is one kind of fault under a load of its own.
type scenario struct {
	number          int // in the list of faults that the project promises to survive
	name            string
	duplicates, bad float64       // shares of the load
	lasts           time.Duration // how long the fault does, where it is about time
	spans           time.Duration // how long the load does, at the least
	records         uint64        // of the load, where --records are too few
	ownDay          bool          // its records go to indices that no other scenario has: at most mostDays

	aws, elasticsearch []faultproxy.Rule // each must be seen in a proxy's log

	alarms alarms.Expected

	// prepare comes before the load.
	prepare func(ctx context.Context, s *running) error
	// fault runs beside the load, when some of it is accepted, and ends the
	// fault; nil sets the rules until the load is over.
	fault func(ctx context.Context, s *running) error
	// settle comes when load and fault are over: what an operator does then.
	settle func(ctx context.Context, s *running) error
	// check asks for more than conservation.
	check func(ctx context.Context, s *running, report audit.Report) error
}

// scenarios are all, in order.
var scenarios = sorted(isolation, basics, indexing, processing, dead, operating, tenants, outages, gone, forms)

func sorted(groups ...[]scenario) []scenario {
	all := slices.Concat(groups...)
	slices.SortFunc(all, func(a, b scenario) int { return a.number - b.number })
	return all
}

// holding makes a fault that keeps answers back for longer than it takes to
// kill who waits for them.
func holding() faultproxy.Delay {
	return faultproxy.Delay{After: 20 * time.Second, Holding: new(atomic.Int64)}
}

var heldBulks = holding()

// noWorker are the alerts of a pipeline of which the only worker is away.
var noWorker = []string{"NoWorker", "NothingIsProcessed", "TargetDown"}

// noWorkerAnd are those and others.
func noWorkerAnd(others ...string) []string { return slices.Concat(noWorker, others) }

// nothingBroken is only of use where alerts are watched.
const nothingBroken = "nothing-broken"

// basics are those that rules of the proxies, and kills, are enough for.
var basics = []scenario{
	{number: 47, name: nothingBroken, spans: 15 * time.Minute, records: 90_000}, // no alert may fire
	{
		number: 1, name: "worker-killed-before-checkpoint", alarms: alarms.Expected{Must: alarms.Late, May: []string{"NothingIsProcessed"}},
		elasticsearch: []faultproxy.Rule{{Name: "1 answer held", Path: "/_bulk", Fault: heldBulks}},
		fault: func(ctx context.Context, s *running) error {
			s.breakAll()
			// Documents are there and no bulk was answered: no mark can be.
			if err := s.awaitHeld(ctx, heldBulks); err != nil {
				return err
			}
			return s.kill(ctx, s.worker)
		},
	},
	{
		number: 2, name: "elasticsearch-429", alarms: alarms.Expected{Must: alarms.AndLate("ElasticsearchBacksOff", "ElasticsearchFails", "ShardWaiting"), May: []string{"ElasticsearchIsTheLimit", "ShardLags"}}, lasts: time.Minute,
		elasticsearch: []faultproxy.Rule{
			{Name: "2 too many requests", Path: "/_bulk", Fault: faultproxy.Answer{Status: http.StatusTooManyRequests}},
			{Name: "2 too many items", Path: "/_bulk", Fault: faultproxy.RejectItems{
				Share: 0.3, Status: http.StatusTooManyRequests, Type: "es_rejected_execution_exception",
			}},
		},
		fault: func(ctx context.Context, s *running) error {
			for i, lasts := range []time.Duration{s.lasts, s.lasts / 4} {
				s.harness.elasticsearch.Set(s.scenario.elasticsearch[i])
				if err := s.hold(ctx, lasts, "ElasticsearchBacksOff", "ElasticsearchFails", "ShardWaiting"); err != nil {
					return err
				}
			}
			// Who has been refused for long comes again after a while.
			return s.until(ctx, func() (bool, error) { return s.seen() == nil, nil })
		},
	},
	{
		number: 3, name: "elasticsearch-down", alarms: alarms.Expected{
			// What waited may be indexed, late, before the worker that was started again is scraped for the first time. Then only
			// the longest windows have a sample before it, and see the step.
			Must: noWorkerAnd("DelayBudgetBurnsSlowly", "DependencyMissing", "ElasticsearchBacksOff", "ElasticsearchFails", "ShardWaiting"),
			May:  alarms.AndLate("ElasticsearchIsTheLimit", "ShardLags"),
		}, lasts: 2 * time.Minute,
		fault: func(ctx context.Context, s *running) error {
			server := s.stack.Service(local.Elasticsearch)
			pid := server.Pid()
			if err := server.Kill(); err != nil {
				return err
			}
			if err := s.gone(ctx, pid); err != nil {
				return err
			}
			if err := s.hold(ctx, s.lasts/2, "DependencyMissing", "ElasticsearchBacksOff", "ElasticsearchFails", "ShardWaiting"); err != nil {
				return err
			}
			// What waits in a worker must be found again by the next.
			if err := s.end(ctx, s.worker); err != nil {
				return err
			}
			if err := s.hold(ctx, s.lasts/2, noWorker...); err != nil {
				return err
			}
			if err := server.Restart(ctx); err != nil {
				return err
			}
			return s.worker.Restart(ctx)
		},
	},
	{
		number: 4, name: "bulk-answer-lost", alarms: alarms.Expected{Must: noWorker, May: alarms.Late}, spans: 30 * time.Second,
		elasticsearch: []faultproxy.Rule{
			{Name: "4 timed out", Path: "/_bulk", AtLeast: splitFrom, Fault: faultproxy.Applied{After: time.Minute}},
			{Name: "4 truncated", Path: "/_bulk", Share: 0.3, Fault: faultproxy.Truncate{Keep: 0.5}},
			{Name: "4 applied", Path: "/_bulk", Share: 0.3, Fault: faultproxy.Applied{}},
		},
		prepare: func(_ context.Context, s *running) error {
			s.sent.Source.Padding = func(uint64) int { return 2 << 10 } // a few of them are too much together
			return nil
		},
		fault: loseAnswers,
	},
	{
		number: 5, name: "stream-throttled", alarms: alarms.Expected{Must: alarms.AndLate(noWorkerAnd("FallbackQueueStands")...), May: []string{"FallbackQueueAges", "FallbackQueueUsed"}}, lasts: 10 * time.Second,
		aws: []faultproxy.Rule{{Name: "5 throttled", Operation: "PutRecords", Fault: faultproxy.Throttle()}},
		fault: func(ctx context.Context, s *running) error {
			s.breakAll()
			if err := s.hold(ctx, s.lasts*2/3); err != nil {
				return err
			}
			// It dies while it holds messages of the queue, which the stream does not take.
			if err := s.end(ctx, s.worker); err != nil {
				return err
			}
			if err := s.hold(ctx, s.lasts/3, noWorkerAnd("FallbackQueueStands")...); err != nil {
				return err
			}
			return s.worker.Restart(ctx)
		},
	},
	{
		number: 6, name: "entries-rejected", alarms: alarms.Expected{May: alarms.Late},
		aws: []faultproxy.Rule{{Name: "6 rejected", Operation: "PutRecords", Fault: faultproxy.RejectEntries{Share: 0.3}}},
	},
	{
		number: 7, name: "stream-and-queue-down", alarms: alarms.Expected{Must: alarms.AndLate("FallbackQueueRefuses")}, lasts: 10 * time.Second,
		aws: []faultproxy.Rule{
			{Name: "7 stream", Operation: "PutRecords", Fault: faultproxy.Reset{}},
			{Name: "7 queue", Operation: "SendMessageBatch", Fault: faultproxy.Reset{}},
		},
		fault: func(ctx context.Context, s *running) error {
			s.breakAll()
			return s.hold(ctx, s.lasts, "FallbackQueueRefuses")
		},
	},
	{
		number: 8, name: "collector-killed-before-answer", alarms: alarms.Expected{May: alarms.Late},
		prepare: collectBehindNetwork, fault: killBeforeAnswer,
		settle: func(_ context.Context, s *running) error { return errors.Join(s.collector.Stop(), s.network.Close()) },
	},
	{
		number: 9, name: "duplicates-across-restart", alarms: alarms.Expected{May: alarms.AndLate("NothingIsProcessed")}, duplicates: 0.3,
		fault: func(ctx context.Context, s *running) error {
			if err := s.awaitAccepted(ctx, 0.5); err != nil {
				return err
			}
			return s.kill(ctx, s.worker)
		},
	},
	{number: 10, name: "scattered-poison", alarms: alarms.Expected{May: []string{"DeadLettersRise"}}, bad: 0.001}, // of the first 1,000 records two
	{
		number: 25, name: "call-invalid-for-one-entry", alarms: alarms.Expected{May: []string{"DeadLettersRise"}}, bad: 0.003,
		aws: []faultproxy.Rule{{Name: "25 invalid", Operation: "PutRecords", Fault: faultproxy.RefuseCalls{With: isBad, Code: "ValidationException"}}},
	},
}

// splitFrom is the size in bytes from which a bulk that times out is split
// (activities.leastSplit).
const splitFrom = 64<<10 + 1

// loseAnswers has a worker time out at each body that can be split, though all
// of it is applied; and then loses answers to bodies of any size.
func loseAnswers(ctx context.Context, s *running) error {
	if err := s.worker.Stop(); err != nil {
		return err
	}
	// Of what waits meanwhile it makes bulks that are large enough.
	if err := s.awaitAccepted(ctx, 0.3); err != nil {
		return err
	}
	if err := s.hold(ctx, 0, noWorker...); err != nil {
		return err
	}
	const again = `"status":409`
	watch := faultproxy.NewWatch(again)
	s.harness.elasticsearch.Set(s.scenario.elasticsearch[0], faultproxy.Rule{Name: "4 watched", Path: "/_bulk", Fault: watch})
	impatient, err := s.pipeline.StartWorker(ctx, workerEnv, "MILLRACE_BULK_TIMEOUT=1s")
	if err != nil {
		return err
	}
	// What is there already was in a body that timed out, and is answered for in
	// one that is too small for that: in a part of it.
	if err := s.until(ctx, func() (bool, error) {
		timeouts, _ := s.harness.elasticsearch.Count(s.scenario.elasticsearch[0].Name)
		return timeouts >= 2 && watch.Seen(again) > 0, nil
	}); err != nil {
		return fmt.Errorf("no bulk that times out is split: %w", err)
	}
	s.harness.elasticsearch.Set(s.scenario.elasticsearch[1:]...)
	if err := s.until(ctx, func() (bool, error) { return s.seen() == nil, nil }); err != nil {
		return errors.Join(s.seen(), err)
	}
	s.pass()
	return errors.Join(impatient.Stop(), s.worker.Restart(ctx))
}

// collectBehindNetwork has the load posted to a collector that reaches Temporal
// by a way of its own, and does not look for another one while it waits.
func collectBehindNetwork(ctx context.Context, s *running) (err error) {
	if s.network, err = faultproxy.StartNetwork(ctx, s.stack.Service(local.Temporal).Address()); err != nil {
		return err
	}
	s.collector, err = s.pipeline.StartCollector(ctx, "TEMPORAL_ADDRESS="+s.network.Address(), "MILLRACE_INGEST_START_TIMEOUT=5m")
	return err
}

// killBeforeAnswer kills the collector when workflows were started and it was
// not told. No client is answered any more, and what they hold must arrive.
func killBeforeAnswer(ctx context.Context, s *running) error {
	s.network.CutBack()
	cut := time.Now().UTC().Format(time.RFC3339Nano)
	if err := s.until(ctx, func() (bool, error) {
		started, err := s.list(ctx, fmt.Sprintf("WorkflowType='IngestBatch' AND StartTime > '%s'", cut))
		return len(started) > 0 && s.network.Held() > 0, err
	}); err != nil {
		return fmt.Errorf("no start of a workflow is unanswered: %w", err)
	}
	if err := s.end(ctx, s.collector); err != nil {
		return err
	}
	s.network.Mend()
	var unread error // while the indices of the day are being made
	if err := s.until(ctx, func() (bool, error) {
		var report audit.Report
		report, unread = audit.Run(ctx, s.stores, s.sent)
		return unread == nil && report.Unanswered > 0 && report.Lost == 0, nil
	}); err != nil {
		return fmt.Errorf("nothing arrives that was started and not answered: %w", errors.Join(err, unread))
	}
	return s.collector.Restart(ctx)
}

// isBad tells a record of the stream with a bad one of a load.Source.
func isBad(data []byte) bool {
	documents, err := container.Open(data)
	return err == nil && slices.ContainsFunc(documents, func(d []byte) bool { return bytes.Contains(d, []byte(load.BadDuration)) })
}

// awaitHeld waits until a server has done what it was asked, and the answer is
// held back.
func (s *running) awaitHeld(ctx context.Context, held faultproxy.Delay) error {
	if err := s.until(ctx, func() (bool, error) { return held.Holding.Load() > 0, nil }); err != nil {
		return fmt.Errorf("no answer is held: %w", err)
	}
	return nil
}

// choose returns the scenarios of these numbers or names; all without any.
func choose(only []string, alerts bool) ([]scenario, error) {
	if len(only) == 0 {
		return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return s.name == nothingBroken && !alerts }), nil
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
