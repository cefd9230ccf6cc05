package activities

import (
	"errors"
	"sync"
)

const (
	// circuitWindow is how many of the last records of a shard the circuit
	// looks at.
	circuitWindow = 1000
	// circuitLeast is how many there must be for a judgement: fewer dead
	// letters than that are no flood. A probe judges by what there is, since it
	// follows many that were bad.
	circuitLeast = 100
	// circuitShare is the share of bad ones above which the circuit opens.
	circuitShare = 0.5
)

// errTripped ends a call of IndexShard whose circuit has opened.
var errTripped = errors.New("most records are refused")

// circuit opens when most of the last records of a shard are bad: then it is
// more likely the deployment, or a mapping, than the records, and neither the
// ledger nor the dead-letter queue is to be flooded. It is safe for concurrent
// use.
type circuit struct {
	off, probe bool

	mu      sync.Mutex
	samples []sample // of the last chunks
	open    bool
	cause   string
}

type sample struct {
	records int
	bad     float64
}

// passes enters what became of a chunk, and reports whether its bad records may
// be given up.
func (c *circuit) passes(of *chunk) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return true
	}
	c.samples = append(c.samples, sample{len(of.records), of.bad()})
	records, bad, kept := 0, 0.0, len(c.samples)
	for kept > 0 && records < circuitWindow {
		kept--
		records, bad = records+c.samples[kept].records, bad+c.samples[kept].bad
	}
	c.samples = c.samples[kept:]
	// Nothing is given up any more once it is open, also of chunks that were
	// under way.
	c.open = c.open || (c.probe || records >= circuitLeast) && bad > circuitShare*float64(records)
	if !c.open || len(of.dead)+len(of.open) == 0 {
		return true
	}
	for _, verdicts := range [][]verdict{of.open, of.dead} {
		for _, v := range verdicts {
			c.cause = failure(v.cause).Error()
		}
	}
	return false
}

// isOpen reports whether the circuit has opened, and over which error.
func (c *circuit) isOpen() (open bool, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.cause
}
