package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/load"
	"millrace/test/kit/agents"
	"millrace/test/kit/faultproxy"
)

// The load: a part of it comes twice, and some of it is such that no index
// takes it.
const (
	duplicates = 0.05
	badShare   = 0.002

	connections, perPost = 16, 50

	// The stream throttles for a while after the warm-up.
	throttleAfter = 2 * time.Second
	throttleFor   = 3 * time.Second
)

// What each of the agents sends.
const (
	invocations = 25 // of the thundra agent's function
	perSignal   = 50 // traces, logs and metrics, each over HTTP and over gRPC
)

// sent is what the senders kept.
type sent struct {
	load   *load.Sender
	warm   time.Time     // end of the warm-up
	agents atomic.Uint64 // records that agents sent without an error
}

// accepted counts the distinct records that were answered 2xx.
func (s *sent) accepted() uint64 { return s.load.Accepted.Len() + s.agents.Load() }

// bad counts those of them that no index takes.
func (s *sent) bad() (n uint64) {
	for i := range s.load.Accepted.All() {
		if s.load.Source.Bad(i) {
			n++
		}
	}
	return n
}

// send posts everything, with a progress line.
func (d *demo) send(ctx context.Context, run string) (*sent, error) {
	begin := time.Now()
	sender := load.NewSender(
		&load.Source{Run: run, Start: begin, Interval: time.Millisecond, BadShare: badShare},
		load.Settings{URL: d.collector.URL, Key: d.key, Records: d.Records, Rate: d.Rate, Duplicates: duplicates,
			Connections: connections, PerPost: perPost},
	)
	s := &sent{load: sender, warm: begin.Add(d.WarmUp)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return sender.Run(ctx) })
	group.Go(func() error { return d.throttle(ctx) })
	group.Go(func() error { return d.runAgents(ctx, s) })
	finished := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-finished:
				return
			case <-tick.C:
				d.progress(ctx, s.accepted())
			}
		}
	}()
	err := group.Wait()
	close(finished)
	if err != nil {
		return s, err
	}
	if counts := sender.Counts(); counts.Refused+counts.GivenUp > 0 {
		return s, fmt.Errorf("post telemetry: the collector refused %d records and never answered for %d; its log is %s", counts.Refused, counts.GivenUp, d.collector.Log)
	}
	say("sent", "%d records by agents, %d by the load generator, %d of these twice", s.agents.Load(), sender.Accepted.Len(), sender.Counts().Duplicates)
	return s, nil
}

// progress says how far things are.
func (d *demo) progress(ctx context.Context, accepted uint64) {
	indexed, err := d.stores.Indexed(ctx)
	if err != nil {
		return // The next line may say it; the audit must.
	}
	say("progress", "%8d accepted  %8d indexed", accepted, indexed)
}

// throttle makes the stream refuse most of what the collector puts into it,
// as Kinesis does beyond a shard's limits.
func (d *demo) throttle(ctx context.Context) error {
	if err := sleep(ctx, d.WarmUp+throttleAfter); err != nil {
		return err
	}
	say("stream", "throttles for %v: what it does not take goes to the queue", throttleFor)
	d.proxy.Set(
		d.watch,
		faultproxy.Rule{Name: "call", Operation: "PutRecords", Share: 0.5, Fault: faultproxy.Throttle()},
		faultproxy.Rule{Name: "entries", Operation: "PutRecords", Fault: faultproxy.RejectEntries{Share: 0.5}},
	)
	defer d.proxy.Set(d.watch)
	if err := sleep(ctx, throttleFor); err != nil {
		return err
	}
	say("stream", "takes everything again: Redrive brings the queue's records back")
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runAgents runs real agents, one after the other, and counts what they sent.
func (d *demo) runAgents(ctx context.Context, s *sent) error {
	if err := d.agents.Thundra(ctx, d.collector.URL, d.key, invocations); err != nil {
		return fmt.Errorf("run the thundra agent: %w", err)
	}
	s.agents.Add(invocations * agents.ThundraRecords)
	say("thundra", "sent %d records of a Python function", invocations*agents.ThundraRecords)
	for _, signal := range []agents.Signal{agents.Traces, agents.Logs, agents.Metrics} {
		for _, http := range []bool{true, false} {
			o := agents.OTLP{Signal: signal, HTTP: http, Address: d.collector.GRPC, Key: d.key, Service: "demo", Count: perSignal}
			over := "gRPC"
			if http {
				o.Address, over = d.collector.URL[len("http://"):], "HTTP"
			}
			if err := d.agents.OTLP(ctx, o); err != nil {
				return fmt.Errorf("send %s over %s: %w", signal, over, err)
			}
			s.agents.Add(uint64(o.Records()))
			say("telemetrygen", "sent %d records of %s over %s", o.Records(), signal, over)
		}
	}
	return nil
}
