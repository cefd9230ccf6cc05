package e2e

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"millrace/internal/load"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// sender makes a load with duplicates and bad records.
func (s *system) sender(records uint64, rate float64) *load.Sender {
	return load.NewSender(
		&load.Source{Run: s.tenant, Start: time.Now(), Interval: time.Millisecond, BadShare: 0.005},
		load.Settings{URL: s.collector.URL, Key: s.key, Records: records, Rate: rate, Duplicates: 0.05},
	)
}

// awaitAll waits until everything that a sender was answered for has arrived,
// each record once and nothing altered.
func (s *system) awaitAll(sender *load.Sender) audit.Report {
	s.t.Helper()
	if counts := sender.Counts(); counts.Refused+counts.GivenUp > 0 || counts.Accepted == 0 || counts.Duplicates == 0 {
		s.t.Fatalf("the sender counts %+v", counts)
	}
	var report audit.Report
	s.await(func() (err error) {
		report, err = audit.Run(s.t.Context(), s.stores, audit.Sent{Source: sender.Source, Accepted: &sender.Accepted})
		if err == nil && report.Lost > 0 {
			err = report.Clean()
		}
		return err
	})
	if err := report.Clean(); err != nil {
		s.t.Error(err)
	}
	if report.Bad == 0 || report.DeadLettered != report.Bad || report.Unanswered+report.Others+report.OthersDead > 0 {
		s.t.Errorf("the report is %+v", report)
	}
	return report
}

// until waits for a condition.
func until(ctx context.Context, condition func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// TestDirectModeLosesNothing: without a workflow for each batch, what the stream refuses
// takes the way through the queue before it is answered, and a collector that
// dies loses nothing that it has answered.
func TestDirectModeLosesNothing(t *testing.T) {
	t.Parallel()
	var aws *faultproxy.Proxy
	s := start(t, func(at *servers) {
		aws = proxyOf(t, at.aws)
		at.aws, at.direct = aws.URL(), true
	})
	aws.Set(
		faultproxy.Rule{Name: "throttle", Operation: "PutRecords", Share: 0.3, Fault: faultproxy.Throttle()},
		faultproxy.Rule{Name: "entries", Operation: "PutRecords", Share: 0.3, Fault: faultproxy.RejectEntries{Share: 0.3}},
		faultproxy.Rule{Name: "messages", Operation: "SendMessageBatch", Share: 0.3, Fault: faultproxy.RejectEntries{Share: 0.5}},
	)
	sender := s.sender(3_000, 300)
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error { return sender.Run(ctx) })
	group.Go(func() error {
		if err := until(ctx, func() bool { return sender.Accepted.Len() >= 1_000 }); err != nil {
			return err
		}
		s.collector.Kill()
		return s.collector.Restart(ctx)
	})
	s.must(group.Wait())
	s.awaitAll(sender)
	for _, rule := range []string{"throttle", "entries", "messages"} {
		if times, _ := aws.Count(rule); times == 0 {
			t.Errorf("no fault %q happened: the test proves nothing", rule)
		}
	}
	batches, err := s.operator.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: "WorkflowType='IngestBatch'"})
	if err != nil || batches.GetCount() > 0 {
		t.Errorf("%d batches were workflows, %v", batches.GetCount(), err)
	}
	moved, err := s.worker.Metric(t.Context(), "millrace_redrive_records_total")
	if err != nil || moved == 0 {
		t.Errorf("%g records came through the queue, %v", moved, err)
	}
}

// Everything that is between our processes and the servers fails now and then,
// and the processes die: what was answered arrives all the same.
func TestPipelineLosesNothingWhateverFails(t *testing.T) {
	t.Parallel()
	proxyOf := func(url string, rules ...faultproxy.Rule) *faultproxy.Proxy {
		proxy, err := faultproxy.Start(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = proxy.Close() })
		proxy.Set(rules...)
		return proxy
	}
	var aws, elasticsearch *faultproxy.Proxy
	s := start(t, func(at *servers) {
		aws, elasticsearch = proxyOf(at.aws), proxyOf(at.elasticsearch)
		at.aws, at.elasticsearch = aws.URL(), elasticsearch.URL()
	})
	aws.Set(
		faultproxy.Rule{Name: "throttle", Operation: "PutRecords", Share: 0.2, Fault: faultproxy.Throttle()},
		faultproxy.Rule{Name: "entries", Operation: "PutRecords", Share: 0.3, Fault: faultproxy.RejectEntries{Share: 0.3}},
		faultproxy.Rule{Name: "put unanswered", Operation: "PutRecords", Share: 0.1, Fault: faultproxy.Applied{}},
		faultproxy.Rule{Name: "messages", Operation: "SendMessageBatch", Share: 0.3, Fault: faultproxy.RejectEntries{Share: 0.5}},
		faultproxy.Rule{Name: "read half", Operation: "GetRecords", Share: 0.1, Fault: faultproxy.Truncate{Keep: 0.5}},
		faultproxy.Rule{Name: "no read", Operation: "GetRecords", Share: 0.1, Fault: faultproxy.Reset{}},
	)
	elasticsearch.Set(
		faultproxy.Rule{Name: "bulk unanswered", Path: "/_bulk", Share: 0.1, Fault: faultproxy.Applied{}},
		faultproxy.Rule{Name: "too many", Path: "/_bulk", Share: 0.1, Fault: faultproxy.Answer{Status: http.StatusTooManyRequests}},
		faultproxy.Rule{Name: "bulk half", Path: "/_bulk", Share: 0.1, Fault: faultproxy.Truncate{Keep: 0.5}},
		faultproxy.Rule{Name: "no bulk", Path: "/_bulk", Share: 0.1, Fault: faultproxy.Reset{}},
	)

	unseen := func() (rules []string) {
		for proxy, all := range map[*faultproxy.Proxy][]string{
			aws:           {"throttle", "entries", "put unanswered", "messages"},
			elasticsearch: {"bulk unanswered", "too many", "bulk half", "no bulk"},
		} {
			for _, rule := range all {
				if times, _ := proxy.Count(rule); times == 0 {
					rules = append(rules, rule)
				}
			}
		}
		return rules
	}
	sender := s.sender(0, 400) // until it is stopped
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error { return sender.Run(ctx) })
	group.Go(func() error {
		// Each dies when the load has come so far.
		for _, c := range []struct {
			at   uint64
			what func() error
		}{
			{1_000, func() error { s.worker.Kill(); return s.worker.Restart(ctx) }},
			{2_500, func() error {
				if err := s.collector.Signal(syscall.SIGTERM); err != nil {
					return err
				}
				if err := s.collector.Wait(ctx); err != nil {
					return err
				}
				return s.collector.Restart(ctx)
			}},
			{3_500, func() (err error) { // another one takes over
				s.worker.Kill()
				s.worker, err = s.StartWorker(ctx, workerEnv...)
				return err
			}},
			{4_500, func() error { s.collector.Kill(); return s.collector.Restart(ctx) }},
		} {
			if err := until(ctx, func() bool { return sender.Accepted.Len() >= c.at }); err != nil {
				return err
			}
			if err := c.what(); err != nil {
				return err
			}
		}
		defer sender.Stop()
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if until(ctx, func() bool { return sender.Accepted.Len() >= 6_000 && len(unseen()) == 0 }) != nil {
			return fmt.Errorf("no fault of %q happened: the test proves nothing", unseen())
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	report := s.awaitAll(sender)
	t.Logf("%d accepted, %d indexed, %d dead-lettered", report.Accepted, report.Indexed, report.DeadLettered)
}
