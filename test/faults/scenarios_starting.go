package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
	"millrace/test/kit/faultproxy"
)

// startWithoutTemporal restarts the collector while Temporal is away: a restart
// in an outage may not make it a larger one.
func startWithoutTemporal(ctx context.Context, s *running) error {
	server := s.stack.Service(local.Temporal)
	pid := server.Pid()
	if err := server.Kill(); err != nil {
		return err
	}
	if err := s.gone(ctx, pid); err != nil {
		return err
	}
	if err := s.kill(ctx, s.collector); err != nil {
		return err
	}
	before := s.sender.Accepted.Len()
	if err := s.until(ctx, func() (bool, error) { return s.sender.Accepted.Len() >= before+s.options.Records/10, nil }); err != nil {
		s.missed = found("a collector that was started without Temporal accepts nothing: %v", err)
	}
	return server.Restart(ctx)
}

// startWithoutElasticsearch restarts the worker while Elasticsearch is away: it
// must wait for it, and not end.
func startWithoutElasticsearch(ctx context.Context, s *running) error {
	server := s.stack.Service(local.Elasticsearch)
	if err := server.Kill(); err != nil {
		return err
	}
	if err := s.end(ctx, s.worker); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.worker.Restart(ctx); err != nil {
			return found("a worker that was started without Elasticsearch does not work: %v", err)
		}
		return nil
	})
	group.Go(func() error {
		if err := s.hold(ctx, s.lasts, "DependencyMissing", "ElasticsearchBacksOff", "ElasticsearchFails", "ShardWaiting"); err != nil {
			return err
		}
		return server.Restart(ctx)
	})
	return group.Wait()
}

// refused are rules that break all calls of some operations.
func refused(name string, operations ...string) (rules []faultproxy.Rule) {
	for _, operation := range operations {
		rules = append(rules, faultproxy.Rule{Name: name, Operation: operation, Fault: faultproxy.Reset{}})
	}
	return rules
}

// Without these calls a service is not there for who starts.
var (
	withoutQueue  = refused("26 queue", "GetQueueUrl", "SendMessageBatch")
	withoutStream = refused("26 stream", "DescribeStreamSummary", "PutRecords")
)

// startInOutage restarts the collector without the queue, and then without the
// stream, and the worker without the stream: a collector takes records as long
// as one durable way answers, and a worker joins when it can.
func startInOutage(ctx context.Context, s *running) error {
	for _, away := range [][]faultproxy.Rule{withoutQueue, withoutStream} {
		if err := s.end(ctx, s.collector); err != nil {
			return err
		}
		if err := s.hold(ctx, 0, "NoCollector", "TargetDown"); err != nil {
			return err
		}
		s.harness.aws.Set(away...)
		before := s.sender.Accepted.Len()
		if err := s.collector.Restart(ctx); err != nil {
			return found("a collector does not start while %s is away: %v", away[0].Name, err)
		}
		if err := s.until(ctx, func() (bool, error) { return s.sender.Accepted.Len() >= before+s.options.Records/10, nil }); err != nil {
			return found("a collector that was started while %s is away accepts nothing: %v", away[0].Name, err)
		}
	}
	// The stream is still away.
	if err := s.end(ctx, s.worker); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.worker.Restart(ctx); err != nil {
			return found("a worker that was started without the stream does not work: %v", err)
		}
		return nil
	})
	group.Go(func() error {
		// It has looked for the stream, and was told nothing.
		calls, _ := s.harness.aws.Count(withoutStream[0].Name)
		err := s.until(ctx, func() (bool, error) {
			now, _ := s.harness.aws.Count(withoutStream[0].Name)
			return now > calls+1, nil
		})
		if err == nil {
			err = s.hold(ctx, 0, "FallbackQueueStands", "NothingIsProcessed")
		}
		s.pass()
		return err
	})
	return group.Wait()
}
