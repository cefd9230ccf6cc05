package indexing

import (
	"millrace/internal/circuit"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Owners are the tenants of a chunk's records, each name once. A record that no
// collector wrote has the empty one.
type Owners struct {
	Names []string
	Of    []int // the name of each record
	at    map[string]int
}

// Add enters the tenant of the next record.
func (o *Owners) Add(tenant []byte) {
	if last := len(o.Of) - 1; last >= 0 && o.Names[o.Of[last]] == string(tenant) {
		o.Of = append(o.Of, o.Of[last])
		return
	}
	n, known := o.at[string(tenant)]
	if !known {
		if o.at == nil {
			o.at = map[string]int{}
		}
		n = len(o.Names)
		o.Names, o.at[string(tenant)] = append(o.Names, string(tenant)), n
	}
	o.Of = append(o.Of, n)
}

// complete enters those of records that a panic has kept from being looked at.
func (o *Owners) complete(records []stream.Record) {
	for _, r := range records[len(o.Of):] {
		parsed, err := telemetry.Parse(r.Data)
		if err != nil {
			parsed = telemetry.Record{}
		}
		o.Add(parsed.Tenant())
	}
}

// Tenant is whose a record is.
func (o *Owners) Tenant(at int) string { return o.Names[o.Of[at]] }

func (o *Owners) reset() {
	clear(o.at)
	o.Names, o.Of = o.Names[:0], o.Of[:0]
}

// Tally is how many records of each tenant the chunk has, and how many of those are bad,
// as far as one can say.
func (c *Chunk) Tally() map[string]circuit.Sample {
	samples := make([]circuit.Sample, len(c.owners.Names))
	for _, n := range c.owners.Of {
		samples[n].Records++
	}
	for _, v := range c.Dead {
		samples[c.owners.Of[v.At]].Bad++
	}
	for _, v := range c.Open {
		bad := 1.0
		if v.Whole {
			bad -= c.acquitted
		}
		samples[c.owners.Of[v.At]].Bad += bad
	}
	tally := make(map[string]circuit.Sample, len(samples))
	for n, s := range samples {
		tally[c.owners.Names[n]] = s
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

// byTenant orders verdicts so that those of a tenant stand together: what is
// tried in pieces is then tried by tenant, and one tenant's poison keeps no
// other's records.
func (o *Owners) byTenant(a, b Verdict) int { return o.Of[a.At] - o.Of[b.At] }
