package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"millrace/deploy/local"
	"millrace/internal/container"
	"millrace/internal/telemetry"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
	"millrace/test/mutants"
)

// processing are the faults of the way from the stream to the index.
var processing = []scenario{
	{number: 12, name: "record-that-panics", alarms: alarms.Expected{May: alarms.AndLate("NothingIsProcessed")}, bad: 0.002, prepare: deployDefect, fault: awaitFix, settle: retryBatches},
	{
		number: 17, name: "iterator-expired", alarms: alarms.Expected{May: alarms.Late}, lasts: 10 * time.Second,
		aws: []faultproxy.Rule{
			{Name: "17 stalled", Operation: "GetRecords", Fault: faultproxy.Delay{Before: 4 * time.Second}},
			{Name: "17 expired", Operation: "GetRecords", Share: 0.5, Fault: faultproxy.AWSError(400, "ExpiredIteratorException")},
		},
		fault: func(ctx context.Context, s *running) error {
			for _, rule := range s.scenario.aws {
				s.harness.aws.Set(rule)
				if err := s.hold(ctx, s.lasts/2); err != nil {
					return err
				}
			}
			return s.until(ctx, func() (bool, error) { return s.seen() == nil, nil })
		},
	},
	{
		number: 22, name: "clocks-an-hour-off", alarms: alarms.Expected{Must: alarms.Late},
		aws: []faultproxy.Rule{
			{Name: "22 ahead", Operation: "PutRecords", Share: 0.3, Fault: faultproxy.Rewrite{Record: receivedAt(time.Hour)}},
			{Name: "22 behind", Operation: "PutRecords", Share: 0.4, Fault: faultproxy.Rewrite{Record: receivedAt(-time.Hour)}},
		},
		prepare: func(ctx context.Context, s *running) (err error) {
			s.before, err = s.worker.Metric(ctx, negativeDelays)
			return err
		},
		check: checkClocks,
	},
	{number: 23, name: "worker-cut-off-from-temporal", alarms: alarms.Expected{Must: alarms.AndLate(noWorker...), May: []string{"DependencyMissing", "ShardLags"}}, fault: partition, spans: time.Minute},
}

// deployDefect replaces the worker by one with a bug: it panics at some
// records.
func deployDefect(ctx context.Context, s *running) error {
	dir, err := os.MkdirTemp(s.stack.LogDir(), "defect-")
	if err != nil {
		return fmt.Errorf("make a folder for the defect worker: %w", err)
	}
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	programs, err := mutants.PanicsAtBad.Build(ctx, root, dir)
	if err != nil {
		return err
	}
	if err := s.worker.Stop(); err != nil {
		return err
	}
	s.released, err = s.worker.Deploy(ctx, programs.Worker)
	return err
}

// deployFix deploys the worker without the bug.
func deployFix(ctx context.Context, s *running) error {
	if err := s.worker.Stop(); err != nil {
		return err
	}
	_, err := s.worker.Deploy(ctx, s.released)
	return err
}

// awaitFix asks that the neighbours of records that panic do not wait for
// them, and then deploys the worker without the bug.
func awaitFix(ctx context.Context, s *running) error {
	good := uint64(0)
	for n := range s.options.Records {
		if !s.sent.Source.Bad(n) {
			good++
		}
	}
	wait := s.until(ctx, func() (bool, error) {
		indexed, err := s.stores.Indexed(ctx)
		return indexed == good, err
	})
	log, err := os.ReadFile(s.worker.Log)
	switch {
	case wait != nil:
		err = fmt.Errorf("the neighbours of records that panic are not all indexed: %w", wait)
	case err == nil && !bytes.Contains(log, []byte("recovered from a panic")):
		err = errors.New("no record has made the worker panic")
	}
	return errors.Join(err, deployFix(ctx, s))
}

// receivedAt shifts the clock of the collector that has made a record.
func receivedAt(by time.Duration) func([]byte) []byte {
	return func(data []byte) []byte {
		documents, err := container.Open(data)
		if err != nil {
			return data
		}
		for _, document := range documents {
			_, rest, found := bytes.Cut(document, []byte(`"received_at":"`))
			if !found {
				continue
			}
			text := rest[:len(telemetry.ReceivedAtLayout)]
			if at, err := time.Parse(telemetry.ReceivedAtLayout, string(text)); err == nil {
				copy(text, at.Add(by).Format(telemetry.ReceivedAtLayout))
			}
		}
		switch container.FormOf(data) {
		case container.Pack:
			return container.AppendPack(nil, documents)
		case container.KPL:
			return container.AppendKPL(nil, documents, make([]string, len(documents)), "0")
		}
		return data // the document itself
	}
}

const negativeDelays = "millrace_delay_negative_total"

// checkClocks asks that each record from the future was counted as one, and as
// no delay.
func checkClocks(ctx context.Context, s *running, report audit.Report) error {
	ahead, err := s.count(ctx, fmt.Sprintf(`{"query":{"bool":{"filter":[{"term":{"tenant":%q}},{"range":{"received_at":{"gt":"now+30m"}}}]}}}`, s.tenant()))
	if err != nil {
		return err
	}
	behind, err := s.count(ctx, fmt.Sprintf(`{"query":{"bool":{"filter":[{"term":{"tenant":%q}},{"range":{"received_at":{"lt":"now-30m"}}}]}}}`, s.tenant()))
	if err != nil {
		return err
	}
	after, err := s.worker.Metric(ctx, negativeDelays)
	if err != nil {
		return err
	}
	sum, err := s.worker.Metric(ctx, "millrace_delay_seconds_sum")
	if err != nil {
		return err
	}
	if ahead == 0 || behind == 0 || after-s.before != float64(ahead) || sum < 0 {
		return fmt.Errorf("%d records are from the future and %d from an hour ago; %g were counted as negative, and the delays sum up to %g s", ahead, behind, after-s.before, sum)
	}
	return nil
}

// partition cuts one of two workers off from Temporal. It goes on indexing, as
// it does not know; then the other takes over its shards from the last
// checkpoint that was heard, and meets the same records.
func partition(ctx context.Context, s *running) (err error) {
	network, err := faultproxy.StartNetwork(ctx, s.stack.Service(local.Temporal).Address())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, network.Close()) }()
	own, err := faultproxy.Start(ctx, s.stores.Elasticsearch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	own.Set(faultproxy.Rule{Name: "23 bulk", Path: "/_bulk", Fault: faultproxy.Delay{Before: time.Second}}) // in flight when the way is cut
	bulks := func() int { times, _ := own.Count("23 bulk"); return times }
	alone, err := s.pipeline.StartWorker(ctx, workerEnv, "TEMPORAL_ADDRESS="+network.Address(), local.EnvElasticsearch+"="+own.URL())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, alone.Stop()) }()
	// Its shards go to the one that will be cut off.
	if err := s.worker.Stop(); err != nil {
		return err
	}
	if err := s.until(ctx, func() (bool, error) { return bulks() > 0, nil }); err != nil {
		return fmt.Errorf("the worker behind the network indexes nothing: %w", err)
	}
	if err := s.hold(ctx, 0, noWorker...); err != nil { // Prometheus does not know the one behind the network
		return err
	}
	if err := s.worker.Restart(ctx); err != nil {
		return err
	}
	before := bulks()
	network.Cut()
	// It indexes what it has read, and more, until it notices that no server hears
	// its heartbeats; none of that reaches the checkpoint.
	if err := s.until(ctx, func() (bool, error) { return bulks() > before && network.Held() > 0, nil }); err != nil {
		return fmt.Errorf("the worker that was cut off indexes nothing: %w", err)
	}
	if err := s.until(ctx, func() (bool, error) {
		taken, err := s.worker.Metric(ctx, "millrace_process_records_total")
		return taken > 0, err
	}); err != nil {
		return fmt.Errorf("no worker takes over from the one that was cut off: %w", err)
	}
	network.Mend()
	return nil
}
