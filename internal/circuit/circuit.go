package circuit

import (
	"sync"
	"time"
)

// Circuit judges the tenants of a shard by their last records. A tenant most of whose
// records are refused is an offender, and no other tenant pays for it. Once most
// tenants are, the circuit opens: then it is more likely the deployment, or a mapping,
// than the records, and nothing more is given up. It is safe for concurrent use.
type Circuit struct {
	off, probe bool

	mu      sync.Mutex
	tenants tenants
	open    bool
	cause   string
}

// Settings of a Circuit.
type Settings struct {
	// Off: it never opens, since an operator wants bad records to be given up.
	Off bool
	// Probe: it judges by what there is, however little, since that follows many
	// records that were bad.
	Probe bool
	// Known are the states that an earlier Circuit of the shard had at its end.
	Known []TenantState
}

// New returns a Circuit.
func New(s Settings) *Circuit {
	c := &Circuit{off: s.Off, probe: s.Probe, tenants: tenants{}}
	c.tenants.seed(s.Known)
	return c
}

// Judge enters what became of some records, by tenant, and reports whether the bad
// ones may be given up, and which of the tenants are offenders. cause is the last
// error of the records; it is asked for when the circuit opens.
func (c *Circuit) Judge(tally map[string]Sample, cause func() string) (offenders map[string]bool, passes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, least := time.Now().UTC(), Least
	if c.probe {
		least = 1
	}
	for tenant, sample := range tally {
		c.tenants.enter(tenant, sample, least, c.probe, now)
	}
	// Nothing is given up any more once it is open, also of chunks that were
	// under way.
	c.open = !c.off && (c.open || c.tenants.mostOffend(now))
	if c.open {
		c.cause = cause()
		return nil, false
	}
	for tenant := range tally {
		if s := c.tenants[tenant]; s != nil && s.Offends() {
			if offenders == nil {
				offenders = map[string]bool{}
			}
			offenders[tenant] = true
		}
	}
	return offenders, true
}

// GaveUp enters how many records of an offender go to the ledger.
func (c *Circuit) GaveUp(tenant string, records int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.tenants[tenant]; s != nil {
		s.DeadLetters += int64(records)
	}
}

// IsOpen reports whether the circuit has opened, and over which error.
func (c *Circuit) IsOpen() (open bool, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.cause
}

// Told is what the next Circuit of the shard is to know.
func (c *Circuit) Told() []TenantState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tenants.told()
}
