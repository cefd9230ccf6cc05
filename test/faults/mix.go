package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/test/faultproxy"
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
		number: 26, name: "mix", duplicates: 0.1, bad: 0.003, lasts: o.Mix,
		fault: func(ctx context.Context, s *running) error {
			m := &mix{running: s, random: rand.New(rand.NewPCG(seed, 26))}
			return m.run(ctx)
		},
		settle: retryBatches,
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
		if err := hold(ctx, m.between(time.Second, 4*time.Second)); err != nil {
			return err
		}
		if err := do(ctx); err != nil {
			return fmt.Errorf("%s: %w", event, err)
		}
		if err := hold(ctx, m.between(time.Second, 4*time.Second)); err != nil {
			return err
		}
		m.pass()
		if err := hold(ctx, m.between(0, 2*time.Second)); err != nil {
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
			if err := hold(ctx, m.between(time.Second, 8*time.Second)); err != nil {
				return err
			}
			return server.Restart(ctx)
		}
	}
	switch m.random.IntN(10) {
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
