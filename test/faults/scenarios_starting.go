package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
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
		if err := hold(ctx, s.lasts); err != nil {
			return err
		}
		return server.Restart(ctx)
	})
	return group.Wait()
}
