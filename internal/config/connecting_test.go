package config_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/client"

	"millrace/internal/config"
)

// slow is a Temporal that answers when it is told to.
type slow struct {
	client.Client
	answer             chan error // of CheckHealth
	connecting, starts atomic.Int64
	most               atomic.Int64 // that connected at once
}

func (s *slow) CheckHealth(ctx context.Context, _ *client.CheckHealthRequest) (*client.CheckHealthResponse, error) {
	s.most.Store(max(s.most.Load(), s.connecting.Add(1)))
	defer s.connecting.Add(-1)
	select {
	case err := <-s.answer:
		return &client.CheckHealthResponse{}, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *slow) ExecuteWorkflow(context.Context, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	s.starts.Add(1)
	return nil, nil
}

func TestConnectingAttemptsOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{answer: make(chan error)}
		c := config.NewConnecting(s)
		start := func(ctx context.Context, into chan<- error) {
			_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{}, "x")
			into <- err
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first, others, impatient := make(chan error, 1), make(chan error, 2), make(chan error, 1)
		go start(t.Context(), first)
		synctest.Wait()
		go start(t.Context(), others)
		go func() { others <- config.CheckTemporal(t.Context(), c) }()
		go start(short, impatient)
		if err := <-impatient; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one whose time is over: %v", err)
		}
		away := errors.New("away")
		s.answer <- away
		if err := <-first; !errors.Is(err, away) || s.starts.Load() != 0 {
			t.Errorf("without Temporal: %v, %d starts", err, s.starts.Load())
		}
		s.answer <- nil // the next of those that waited connects
		synctest.Wait()
		if s.starts.Load() > 1 || s.most.Load() != 1 {
			t.Errorf("%d connected at once", s.most.Load())
		}
		close(s.answer) // from here on a check of health passes at once
		for range 2 {
			if err := <-others; err != nil {
				t.Error(err)
			}
		}
		if err := config.CheckTemporal(t.Context(), c); err != nil || s.starts.Load() != 1 {
			t.Errorf("connected: %v, %d starts", err, s.starts.Load())
		}
	})
}
