package batching

import (
	"sync"
	"time"
)

const (
	// yieldingShare is the divisor of the places that bounds the batches of records
	// that yield: few enough not to slow down the start of another workflow.
	yieldingShare = 8

	// leastPlaces is how many batches may be on their way whatever they take: one more can leave while another waits for a
	// disk. How long they take then is what a batch takes.
	leastPlaces = 4

	// There are more places while batches that share them take less than growBelow times that, and fewer above shrinkAbove:
	// then batches wait for each other where they are made durable.
	growBelow, shrinkAbove = 1.5, 2.0

	// follow is how fast the times follow each new one.
	follow = 1.0 / 8
)

// places bounds how many batches are on their way at once by how long they take. Where a further one only makes the others
// take longer, its records fill the next batch instead: fewer and larger batches cost the server less. It is safe for
// concurrent use.
type places struct {
	free  chan struct{} // one for each batch that may leave now
	few   chan struct{} // one for each that yields, and takes one of free then
	least int

	mu             sync.Mutex
	limit          float64
	issued         int // places that are free or taken
	issuedFew      int
	taken          int
	fulls          uint64        // raised whenever the last place is taken
	alone, crowded time.Duration // what a batch takes beside fewer than least, and beside more; zero: not known
	doubling       bool          // as long as no batch has taken longer beside others
}

func newPlaces(most int) *places {
	p := &places{free: make(chan struct{}, most), few: make(chan struct{}, most), least: min(leastPlaces, most), doubling: true}
	p.limit = float64(p.least)
	p.issue()
	return p
}

// issue makes places that the limit allows.
func (p *places) issue() {
	for ; p.issued < int(p.limit); p.issued++ {
		p.free <- struct{}{}
	}
	for ; p.issuedFew < max(1, int(p.limit)/yieldingShare); p.issuedFew++ {
		p.few <- struct{}{}
	}
	concurrencyLimit.Set(float64(int(p.limit)))
}

// trip is a batch on its way.
type trip struct {
	begun   time.Time
	yields  bool
	crowded bool
	fulls   uint64 // right before it left
}

// leave says that a batch leaves, for which one was received from free, and before from few if it yields.
func (p *places) leave(yields bool) trip {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken++
	t := trip{time.Now(), yields, p.taken > p.least, p.fulls}
	if p.taken >= int(p.limit) {
		p.fulls++
	}
	return t
}

// arrive says that it is durable, or not: how long a batch takes that is not durable, or went another way, says nothing.
func (p *places) arrive(t trip, durable bool) {
	took := time.Since(t.begun)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.issued--
	if t.yields {
		p.issuedFew--
	}
	if durable {
		p.learn(t, took)
	}
	p.issue()
}

func (p *places) learn(t trip, took time.Duration) {
	of := &p.alone
	if t.crowded {
		of = &p.crowded
	}
	if *of == 0 {
		*of = took
	}
	*of += time.Duration(follow * float64(took-*of))
	ratio := 1.0
	if p.alone > 0 && p.crowded > 0 {
		ratio = float64(p.crowded) / float64(p.alone)
	}
	full := p.fulls > t.fulls // a limit that is not reached says nothing
	switch {
	case ratio > shrinkAbove && t.crowded:
		p.doubling = false
		p.limit = max(p.limit-0.5, float64(p.least))
	case ratio < growBelow && full && p.doubling:
		p.limit = min(p.limit+1, float64(cap(p.free)))
	case ratio < growBelow && full:
		p.limit = min(p.limit+1/p.limit, float64(cap(p.free)))
	}
	if int(p.limit) == p.least { // no batch is beside more any longer, and would say that it is time for more places
		p.crowded = 0
	}
}
