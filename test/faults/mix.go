package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"go.temporal.io/api/serviceerror"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
)

// mixLoad is how long the load of a mix goes on behind its last fault.
const mixLoad = 5 * time.Second

// mixed is a scenario of faults that come at random, several at a time: which
// ones, how strong and for how long follows from a seed.
func mixed(o *options) scenario {
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	fmt.Printf("mixing faults for %v: --seed %d\n", o.Mix, o.Seed)
	o.Records = max(o.Records, uint64(o.Rate*(o.Mix+mixLoad).Seconds()))
	seed := o.Seed
	return scenario{
		name: "mix", duplicates: 0.1, bad: 0.003, lasts: o.Mix,
		fault: func(ctx context.Context, s *running) error {
			m := &mix{running: s, random: rand.New(rand.NewPCG(seed, 26))}
			return m.run(ctx)
		},
		settle: func(ctx context.Context, s *running) error {
			return errors.Join(s.awaitRestarts(ctx), retryBatches(ctx, s))
		},
	}
}

// mix is a run of them.
type mix struct {
	*running
	random *rand.Rand
	halved bool // a shard has been split, and not merged again
}

func (m *mix) run(ctx context.Context) error {
	began := time.Now()
	for time.Since(began) < m.lasts {
		aws, elasticsearch := m.pick(m.awsFaults()), m.pick(m.elasticsearchFaults())
		m.harness.aws.Set(aws...)
		m.harness.elasticsearch.Set(elasticsearch...)
		event, do := m.event()
		fmt.Printf("%6.0f s  %s%s%s\n", time.Since(began).Seconds(), names(aws), names(elasticsearch), event)
		if err := m.hold(ctx, m.between(time.Second, 4*time.Second)); err != nil {
			return err
		}
		if err := do(ctx); err != nil {
			return fmt.Errorf("%s: %w", event, err)
		}
		if err := m.hold(ctx, m.between(time.Second, 4*time.Second)); err != nil {
			return err
		}
		m.pass()
		if err := m.hold(ctx, m.between(0, 2*time.Second)); err != nil {
			return err
		}
	}
	return nil
}

func names(rules []faultproxy.Rule) (all string) {
	for _, rule := range rules {
		all += rule.Name + ", "
	}
	return all
}

func (m *mix) between(least, most time.Duration) time.Duration {
	return least + time.Duration(m.random.Int64N(int64(most-least)))
}

// pick chooses none to two of some faults.
func (m *mix) pick(from []faultproxy.Rule) (rules []faultproxy.Rule) {
	m.random.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	return from[:m.random.IntN(3)]
}

// share is a share of calls, from a few to nearly all.
func (m *mix) share() float64 { return 0.05 + 0.9*m.random.Float64() }

func (m *mix) awsFaults() []faultproxy.Rule {
	put, read, send := "PutRecords", "GetRecords", "SendMessageBatch"
	return []faultproxy.Rule{
		{Name: "puts throttled", Operation: put, Share: m.share(), Fault: faultproxy.Throttle()},
		{Name: "puts rejected in part", Operation: put, Share: m.share(), Fault: faultproxy.RejectEntries{Share: m.share()}},
		{Name: "puts unanswered", Operation: put, Share: m.share() / 2, Fault: faultproxy.Applied{}},
		{Name: "puts reset", Operation: put, Share: m.share(), Fault: faultproxy.Reset{}},
		{Name: "puts invalid for one entry", Operation: put, Fault: faultproxy.RefuseCalls{With: isBad, Code: "ValidationException"}},
		{Name: "clocks ahead", Operation: put, Share: m.share(), Fault: faultproxy.Rewrite{Record: receivedAt(time.Hour)}},
		{Name: "clocks behind", Operation: put, Share: m.share(), Fault: faultproxy.Rewrite{Record: receivedAt(-time.Hour)}},
		{Name: "reads stalled", Operation: read, Share: m.share(), Fault: faultproxy.Delay{Before: 2 * time.Second}},
		{Name: "reads cut", Operation: read, Share: m.share(), Fault: faultproxy.Truncate{Keep: 0.5}},
		{Name: "reads reset", Operation: read, Share: m.share(), Fault: faultproxy.Reset{}},
		{Name: "iterators expired", Operation: read, Share: m.share() / 2, Fault: faultproxy.AWSError(http.StatusBadRequest, "ExpiredIteratorException")},
		{Name: "messages rejected in part", Operation: send, Share: m.share(), Fault: faultproxy.RejectEntries{Share: m.share()}},
		{Name: "queue down", Operation: send, Fault: faultproxy.Reset{}},
		{Name: "receives reset", Operation: "ReceiveMessage", Share: m.share(), Fault: faultproxy.Reset{}},
		{Name: "deletes unanswered", Operation: "DeleteMessage", Share: m.share(), Fault: faultproxy.Applied{}},
	}
}

func (m *mix) elasticsearchFaults() []faultproxy.Rule {
	bulk := "/_bulk"
	return []faultproxy.Rule{
		{Name: "bulks refused", Path: bulk, Share: m.share(), Fault: faultproxy.Answer{Status: http.StatusTooManyRequests}},
		{Name: "bulks unavailable", Path: bulk, Share: m.share(), Fault: faultproxy.Answer{Status: http.StatusServiceUnavailable}},
		{Name: "items refused", Path: bulk, Share: m.share(), Fault: faultproxy.RejectItems{Share: m.share(), Status: 429, Type: "es_rejected_execution_exception"}},
		{Name: "items undecided", Path: bulk, Share: m.share() / 4, Fault: faultproxy.RejectItems{Share: 0.01, Status: 400, Type: "mystery_exception"}},
		{Name: "bulks too large", Path: bulk, AtLeast: 16 << 10, Fault: faultproxy.Answer{Status: http.StatusRequestEntityTooLarge}},
		{Name: "bulks without a culprit", Path: bulk, Share: m.share() / 4, Fault: faultproxy.Answer{Status: http.StatusBadRequest}},
		{Name: "answers cut", Path: bulk, Share: m.share(), Fault: faultproxy.Truncate{Keep: 0.5}},
		{Name: "bulks unanswered", Path: bulk, Share: m.share(), Fault: faultproxy.Applied{}},
		{Name: "bulks reset", Path: bulk, Share: m.share(), Fault: faultproxy.Reset{}},
		{Name: "bulks slow", Path: bulk, Share: m.share(), Fault: faultproxy.Delay{Before: time.Second, After: time.Second}},
	}
}

// event is something that happens once, or nothing.
func (m *mix) event() (name string, do func(context.Context) error) {
	kill := func(program *pipeline.Program) func(context.Context) error {
		return func(ctx context.Context) error { return m.kill(ctx, program) }
	}
	restart := func(service string) func(context.Context) error {
		return func(ctx context.Context) error {
			server := m.stack.Service(service)
			if err := server.Kill(); err != nil {
				return err
			}
			if err := m.hold(ctx, m.between(time.Second, 8*time.Second)); err != nil {
				return err
			}
			return server.Restart(ctx)
		}
	}
	switch m.random.IntN(15) {
	case 0, 1:
		return "worker killed", kill(m.worker)
	case 2, 3:
		return "collector killed", kill(m.collector)
	case 4:
		return "Temporal killed", restart(local.Temporal)
	case 5:
		return "Elasticsearch killed", restart(local.Elasticsearch)
	case 6:
		return "shards split or merged", m.reshard
	case 7:
		return "worker replaced", func(ctx context.Context) error {
			m.pass()
			if err := m.worker.Stop(); err != nil {
				return err
			}
			return m.worker.Restart(ctx)
		}
	case 8:
		return "worker killed before its checkpoint", m.killBeforeCheckpoint
	case 9:
		return "worker cut off from Temporal", m.cutOff
	case 10:
		return "worker with a defect", func(ctx context.Context) error {
			if err := deployDefect(ctx, m.running); err != nil {
				return err
			}
			err := m.hold(ctx, m.between(2*time.Second, 8*time.Second))
			return errors.Join(err, deployFix(ctx, m.running))
		}
	case 11:
		return "index out of service", m.outOfService
	case 12:
		return "batches terminated", m.terminate
	}
	return "nothing else", func(context.Context) error { return nil }
}

func (m *mix) reshard(ctx context.Context) error {
	change := m.split
	if m.halved {
		change = m.merge
	}
	m.halved = !m.halved
	return change(ctx)
}

// killBeforeCheckpoint kills the worker when bulks were applied whose answers
// are held back, or when none came.
func (m *mix) killBeforeCheckpoint(ctx context.Context) error {
	held := holding()
	m.harness.elasticsearch.Set(faultproxy.Rule{Name: "answers held", Path: "/_bulk", Fault: held})
	for range 50 {
		if held.Holding.Load() > 0 {
			break
		}
		if err := m.hold(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return m.kill(ctx, m.worker)
}

// cutOff lets another worker take over the shards, cuts that off from Temporal,
// and lets the first take them back meanwhile.
func (m *mix) cutOff(ctx context.Context) (err error) {
	network, err := faultproxy.StartNetwork(ctx, m.stack.Service(local.Temporal).Address())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, network.Close()) }()
	other, err := m.pipeline.StartWorker(ctx, workerEnv, "TEMPORAL_ADDRESS="+network.Address())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.Stop()) }()
	if err := m.worker.Stop(); err != nil {
		return err
	}
	if err := m.worker.Restart(ctx); err != nil {
		return err
	}
	network.Cut()
	err = m.hold(ctx, m.between(5*time.Second, 15*time.Second))
	network.Mend()
	return err
}

// outOfService has an index of the day refuse whatever is written to it, for a
// while, if it is there yet.
func (m *mix) outOfService(ctx context.Context) (err error) {
	index := "/" + m.index(telemetry.Types[m.random.IntN(len(telemetry.Types))])
	states := []struct{ method, path, body, undo, undone string }{
		{http.MethodPut, "/_settings", fmt.Sprintf(floodStage, "true"), "/_settings", fmt.Sprintf(floodStage, "null")},
		{http.MethodPut, "/_settings", fmt.Sprintf(writeBlocked, "true"), "/_settings", fmt.Sprintf(writeBlocked, "null")},
		{http.MethodPost, "/_close", "", "/_open", ""},
	}
	state := states[m.random.IntN(len(states))]
	var refused *refusal
	if _, err := m.ask(ctx, state.method, index+state.path, state.body); errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return nil
	} else if err != nil {
		return err
	}
	err = m.hold(ctx, m.between(time.Second, 8*time.Second))
	_, undone := m.ask(context.WithoutCancel(ctx), state.method, index+state.undo, state.undone)
	return errors.Join(err, undone)
}

// terminate terminates the batches that are open at this moment: what they hold
// must be taken up again.
func (m *mix) terminate(ctx context.Context) error {
	open, err := m.list(ctx, "WorkflowType IN ('ProcessBatch','IngestBatch') AND ExecutionStatus='Running'")
	if err != nil {
		return err
	}
	for _, id := range open {
		var ended *serviceerror.NotFound
		if err := m.temporal.TerminateWorkflow(ctx, id, "", "a mix of faults"); errors.As(err, &ended) {
			continue
		} else if err != nil {
			return fmt.Errorf("terminate %s: %w", id, err)
		}
		m.terminated = append(m.terminated, id)
	}
	return nil
}
