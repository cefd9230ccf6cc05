package simulation

import (
	"math"
	"math/rand/v2"
)

// Run plays the settings, which must be valid. The same settings give the same result.
func Run(s Settings) Result {
	p := &play{Settings: s, rand: rand.New(rand.NewPCG(s.Seed, 1)), slow: 1} //nolint:gosec // dice
	p.build()
	p.schedule()
	end := s.For.Seconds()
	for len(p.events) > 0 && p.events[0].at <= end {
		next := p.events.pop()
		p.now = next.at
		next.do()
	}
	p.now = end
	return p.result()
}

// play is a run of the simulation. Times are in seconds since its beginning, positions in records of a shard.
type play struct {
	Settings
	now    float64
	events events
	order  uint64
	rand   *rand.Rand

	shards  []*shard
	workers []*worker
	unread  []*shard // wait for a worker with a free slot
	cluster *machine
	slow    float64 // how many times longer the cluster takes

	writes  float64
	reread  float64
	indexed float64
	delays  delays
	samples []Sample
}

// build makes the shards and the workers, which begin with their fair shares.
func (p *play) build() {
	shared := &machine{free: make([]float64, p.OneMachine)}
	p.cluster = shared
	if p.OneMachine == 0 {
		p.cluster = &machine{free: make([]float64, p.ClusterCores)}
	}
	for range p.Workers {
		w := &worker{play: p, machine: shared, limit: limiterStart}
		if p.OneMachine == 0 {
			w.machine = &machine{free: make([]float64, p.WorkerCores)}
		}
		p.workers = append(p.workers, w)
	}
	for n := range p.Shards {
		s := &shard{play: p, rate: p.Rate / float64(p.Shards), backlog: p.Backlog / float64(p.Shards), closed: math.Inf(1)}
		p.shards = append(p.shards, s)
		first := n % len(p.workers)
		p.at(p.rand.Float64()*idleWait, func() { p.assign(s, first) }) // they do not read in step
	}
}

// schedule enters what happens.
func (p *play) schedule() {
	if p.Kill.Share > 0 {
		p.at(p.Kill.At.Seconds(), p.kill)
	}
	if p.Slow.Factor > 1 {
		p.at(p.Slow.At.Seconds(), func() { p.slow = p.Slow.Factor })
		p.at((p.Slow.At + p.Slow.For).Seconds(), func() { p.slow = 1 })
	}
	if p.Split.Shards > 0 {
		p.at(p.Split.At.Seconds(), p.split)
	}
	for second := range int(p.For.Seconds()) {
		p.at(float64(second+1), p.sample)
	}
}

// kill ends workers, and has those that are left begin their shards once they are missed.
func (p *play) kill() {
	dead := p.killed()
	for _, w := range p.workers[:dead] {
		w.dead = true
	}
	p.workers = p.workers[dead:]
	for _, s := range p.shards {
		if s.owner != nil && s.owner.dead {
			s.run++ // nothing that it had under way is heard of again
			p.at(max(s.heartbeat+takeoverAfter, p.now)+retryAfter+beginsAfter, s.takeOver)
		}
	}
}

// split closes the first shards. Their children get their records from now on.
func (p *play) split() {
	for _, s := range p.shards[:p.Split.Shards] {
		s.closed = p.now
		for range 2 {
			child := &shard{play: p, rate: s.rate / 2, since: p.now, closed: math.Inf(1)}
			s.children = append(s.children, child)
			p.shards = append(p.shards, child)
		}
	}
}

// reassign begins a call on any worker: who polls a task queue is as likely as another to get the next task.
func (p *play) reassign(s *shard) { p.assign(s, p.rand.IntN(len(p.workers))) }

// assign begins a call on a worker, on the next one that has a free slot, or once there is one.
func (p *play) assign(s *shard, first int) {
	for n := range p.workers {
		if w := p.workers[(first+n)%len(p.workers)]; w.calls < p.Slots {
			s.begin(w)
			return
		}
	}
	p.unread = append(p.unread, s)
}

// at schedules an event.
func (p *play) at(when float64, do func()) {
	p.order++
	p.events.push(event{when, p.order, do})
}

type event struct {
	at    float64
	order uint64 // of events at one time
	do    func()
}

func (e event) before(other event) bool {
	return e.at < other.at || e.at == other.at && e.order < other.order
}

// events is a heap: there are millions, and those of container/heap would each be boxed.
type events []event

func (e *events) push(last event) {
	*e = append(*e, last)
	heap, at := *e, len(*e)-1
	for at > 0 && last.before(heap[(at-1)/2]) {
		heap[at], at = heap[(at-1)/2], (at-1)/2
	}
	heap[at] = last
}

func (e *events) pop() (first event) {
	heap := *e
	first = heap[0]
	last := heap[len(heap)-1]
	heap[len(heap)-1] = event{}
	heap = heap[:len(heap)-1]
	*e = heap
	if len(heap) == 0 {
		return first
	}
	at := 0
	for {
		child := 2*at + 1
		if child+1 < len(heap) && heap[child+1].before(heap[child]) {
			child++
		}
		if child >= len(heap) || !heap[child].before(last) {
			break
		}
		heap[at], at = heap[child], child
	}
	heap[at] = last
	return first
}

// machine is some processors, each of which does one thing at a time, in the order in which it comes.
type machine struct {
	free []float64 // when each is
	busy float64   // seconds of work
}

// work returns when some work is done that begins now.
func (m *machine) work(now, seconds float64) (done float64) {
	first := 0
	for n, at := range m.free {
		if at < m.free[first] {
			first = n
		}
	}
	m.busy += seconds
	m.free[first] = max(now, m.free[first]) + seconds
	return m.free[first]
}

// divided is work for several processors: a bulk goes to several shards of an index.
func (m *machine) divided(now, seconds float64) (done float64) {
	parts := min(len(m.free), bulkParts)
	for range parts {
		done = max(done, m.work(now, seconds/float64(parts)))
	}
	return done
}

// bulkParts is how many shards of its index a bulk reaches at once.
const bulkParts = 2
