package activities

import (
	"errors"
	"sync"
	"time"
)

// errTripped ends a call of IndexShard whose circuit has opened.
var errTripped = errors.New("most tenants' records are refused")

// circuit judges the tenants of a shard by their last records. A tenant most of
// whose records are refused is an offender, and no other tenant pays for it.
// Once most tenants are, the circuit opens: then it is more likely the
// deployment, or a mapping, than the records, and nothing more is given up. It
// is safe for concurrent use.
type circuit struct {
	off, probe bool

	mu      sync.Mutex
	tenants tenants
	open    bool
	cause   string
}

// seed begins with what an earlier call knew.
func (c *circuit) seed(states []TenantState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tenants = tenants{}
	c.tenants.seed(states)
}

// passes enters what became of a chunk, and reports whether its bad records may
// be given up. Those of offenders are set aside in it.
func (c *circuit) passes(of *chunk) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tenants == nil {
		c.tenants = tenants{}
	}
	now, least := time.Now().UTC(), circuitLeast
	if c.probe {
		least = 1
	}
	for tenant, sample := range of.tally() {
		c.tenants.enter(tenant, sample, least, c.probe, now)
	}
	// Nothing is given up any more once it is open, also of chunks that were
	// under way.
	c.open = !c.off && (c.open || c.tenants.mostOffend(now))
	if c.open {
		c.cause = of.lastCause()
		return false
	}
	of.setAside(func(tenant string) bool { return c.tenants[tenant].Offends() })
	for _, v := range of.aside {
		c.tenants[of.owners.tenant(v.at)].Buried++
	}
	return true
}

// isOpen reports whether the circuit has opened, and over which error.
func (c *circuit) isOpen() (open bool, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.cause
}

// told is what the next call is to know.
func (c *circuit) told() []TenantState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tenants.told()
}
