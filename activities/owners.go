package activities

import (
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// owners are the tenants of a chunk's records, each name once. A record that no
// collector wrote has the empty one.
type owners struct {
	names []string
	at    map[string]int
	of    []int // the name of each record
}

// add enters the tenant of the next record.
func (o *owners) add(tenant []byte) {
	if last := len(o.of) - 1; last >= 0 && o.names[o.of[last]] == string(tenant) {
		o.of = append(o.of, o.of[last])
		return
	}
	n, known := o.at[string(tenant)]
	if !known {
		if o.at == nil {
			o.at = map[string]int{}
		}
		n = len(o.names)
		o.names, o.at[string(tenant)] = append(o.names, string(tenant)), n
	}
	o.of = append(o.of, n)
}

// complete enters those of records that a panic has kept from being looked at.
func (o *owners) complete(records []stream.Record) {
	for _, r := range records[len(o.of):] {
		parsed, err := telemetry.Parse(r.Data)
		if err != nil {
			parsed = telemetry.Record{}
		}
		o.add(parsed.Tenant())
	}
}

// tenant is whose a record is.
func (o *owners) tenant(at int) string { return o.names[o.of[at]] }

func (o *owners) reset() {
	clear(o.at)
	o.names, o.of = o.names[:0], o.of[:0]
}

// tally is how many records of each tenant a chunk has, and how many of those
// are bad, as far as one can say.
func (c *chunk) tally() map[string]sample {
	samples := make([]sample, len(c.owners.names))
	for _, n := range c.owners.of {
		samples[n].records++
	}
	for _, v := range c.dead {
		samples[c.owners.of[v.at]].bad++
	}
	for _, v := range c.open {
		bad := 1.0
		if v.whole {
			bad -= c.acquitted
		}
		samples[c.owners.of[v.at]].bad += bad
	}
	tally := make(map[string]sample, len(samples))
	for n, s := range samples {
		tally[c.owners.names[n]] = s
	}
	return tally
}

// lastCause is the last error of a chunk that has bad records.
func (c *chunk) lastCause() (cause string) {
	for _, verdicts := range [...][]verdict{c.open, c.dead} {
		for _, v := range verdicts {
			cause = v.cause.Failure().Error()
		}
	}
	return cause
}

// setAside sets aside the records of offenders that were refused each for its
// own sake. What was refused as a whole is for a ProcessBatch: of one for each
// chunk there would be a flood of those.
func (c *chunk) setAside(offends func(tenant string) bool) {
	keep := func(verdicts []verdict) []verdict {
		kept := verdicts[:0]
		for _, v := range verdicts {
			if !v.whole && offends(c.owners.tenant(v.at)) {
				c.aside = append(c.aside, v)
			} else {
				kept = append(kept, v)
			}
		}
		return kept
	}
	c.dead, c.open = keep(c.dead), keep(c.open)
	c.merging = len(c.open) > 0
	for _, v := range c.open {
		c.merging = c.merging && v.whole && offends(c.owners.tenant(v.at))
	}
}

// byTenant orders verdicts so that those of a tenant stand together: what is
// tried in pieces is then tried by tenant, and one tenant's poison keeps no
// other's records.
func (o *owners) byTenant(a, b verdict) int { return o.of[a.at] - o.of[b.at] }
