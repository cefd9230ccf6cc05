package indexing

import "millrace/internal/circuit"

// Names are one name of each record of a chunk: its tenant, or its index. Each name is there once. That of a record that
// no collector wrote is empty.
type Names struct {
	All []string
	Of  []int // the name of each record
	at  map[string]int
}

// Add enters the name of the next record.
func (n *Names) Add(name []byte) {
	if last := len(n.Of) - 1; last >= 0 && n.All[n.Of[last]] == string(name) {
		n.Of = append(n.Of, n.Of[last])
		return
	}
	at, known := n.at[string(name)]
	if !known {
		if n.at == nil {
			n.at = map[string]int{}
		}
		at = len(n.All)
		n.All = append(n.All, string(name))
		n.at[n.All[at]] = at
	}
	n.Of = append(n.Of, at)
}

// Name is that of a record.
func (n *Names) Name(at int) string { return n.All[n.Of[at]] }

func (n *Names) reset() {
	clear(n.at)
	clear(n.All)
	n.All, n.Of = n.All[:0], n.Of[:0]
}

// byTenant orders verdicts so that those of a tenant stand together: what is
// tried in pieces is then tried by tenant, and one tenant's poison keeps no
// other's records.
func (c *Chunk) byTenant(a, b Verdict) int { return c.Tenants.Of[a.At] - c.Tenants.Of[b.At] }

// Tally is how many records of each tenant the chunk has, and how many of those are bad,
// as far as one can say.
func (c *Chunk) Tally() map[string]circuit.Sample {
	samples := make([]circuit.Sample, len(c.Tenants.All))
	for _, n := range c.Tenants.Of {
		samples[n].Records++
	}
	for _, v := range c.Dead {
		samples[c.Tenants.Of[v.At]].Bad++
	}
	for _, v := range c.Open {
		bad := 1.0
		if v.Whole {
			bad -= c.acquitted
		}
		samples[c.Tenants.Of[v.At]].Bad += bad
	}
	tally := make(map[string]circuit.Sample, len(samples))
	for n, s := range samples {
		tally[c.Tenants.All[n]] = s
	}
	return tally
}

// LastCause is the last error of a chunk that has bad records.
func (c *Chunk) LastCause() (cause string) {
	for _, verdicts := range [...][]Verdict{c.Open, c.Dead} {
		for _, v := range verdicts {
			cause = v.Cause.Failure().Error()
		}
	}
	return cause
}
