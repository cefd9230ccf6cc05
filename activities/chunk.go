package activities

import (
	"cmp"
	"slices"
	"time"

	"millrace/internal/limiter"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// chunk is a stretch of a shard, or a part of one, that goes to Elasticsearch in
// one bulk. Its memory is used again for the next one.
type chunk struct {
	stretch *stretch
	records []stream.Record
	gaps    bool               // there are other records between its own
	ids     []telemetry.DocID  // of each record; zero for a foreign one
	digests []telemetry.Digest // of each record; zero for one without
	times   []time.Time        // received_at of each record; zero for one that is replayed
	owners  owners             // the tenant of each record
	size    int                // bytes of the stream that it keeps in memory
	suffix  string             // put behind the name of each record's index

	priority limiter.Priority // of its bulks; zero: the settler's

	bulk sink.Bulk
	at   []int // the record of each document in the bulk

	earlier []earlier // records in the bulk that may stand in another index
	met     []met     // records that are indexed, to be compared with their documents
	// conflicts are the records that say something else than their documents, to
	// be named.
	conflicts []int

	counts   Counts
	dead     []verdict   // Elasticsearch will never take these
	open     []verdict   // what is to become of these is for a ProcessBatch
	aside    []verdict   // dead, of offenders: they go to the ledger together with others
	parked   []verdict   // their index alone is out of service: they go to the ledger until it takes them
	merging  bool        // open records are of offenders alone, and go to a ProcessBatch together with others
	stopped  []int       // that have no outcome, since the settler was stopped before
	received []time.Time // scratch: of what one bulk created
	// acquitted is the share of a sample of those that are blamed as a whole
	// that turned out to be fine.
	acquitted float64
}

// verdict is on a record that is not indexed.
type verdict struct {
	at    int // in the chunk
	cause outcome.Error
	// whole: the cause is of the request that it was in, with others, and may
	// not be its own.
	whole bool
}

// reset makes the chunk ready for the next records and lets go of these.
func (c *chunk) reset() {
	clear(c.records)
	c.records, c.ids, c.digests, c.times = c.records[:0], c.ids[:0], c.digests[:0], c.times[:0]
	c.bulk.Reset()
	c.at, c.earlier, c.received = c.at[:0], c.earlier[:0], c.received[:0]
	c.met, c.conflicts = c.met[:0], c.conflicts[:0]
	c.owners.reset()
	c.stretch, c.gaps, c.size, c.priority, c.counts = nil, false, 0, 0, Counts{}
	c.dead, c.open, c.aside, c.parked, c.stopped, c.merging, c.acquitted = nil, nil, nil, nil, nil, false, 0
}

// blameAll leaves the whole chunk open, after a panic: which record is to blame
// is not known. A ProcessBatch finds those indexed that are.
func (c *chunk) blameAll(err error) {
	c.counts = Counts{Records: int64(len(c.records))}
	c.dead, c.open, c.parked, c.stopped = nil, c.open[:0], nil, nil
	c.met, c.conflicts = nil, nil
	c.owners.complete(c.records)
	for i := range c.records {
		c.open = append(c.open, verdict{i, outcome.Error{Type: outcome.TypePanic, Reason: err.Error()}, len(c.records) > 1})
	}
}

// notAttributable are the verdicts that are those of a whole request, in the
// order of the shard.
func (c *chunk) notAttributable() (whole []verdict) {
	slices.SortFunc(c.open, func(a, b verdict) int { return cmp.Compare(a.at, b.at) })
	for _, v := range c.open {
		if v.whole {
			whole = append(whole, v)
		}
	}
	return whole
}

// kept is what a record holds in memory, in bytes.
func kept(r stream.Record) int { return len(r.Data) + recordOverhead }

// recordOverhead is about what a stream.Record and its sequence number take.
const recordOverhead = 128

// sort takes the chunk apart: what does not come from a collector is dead,
// what was indexed before is not indexed again, the rest goes into the bulk.
func (c *chunk) sort(seen Seen, now time.Time) {
	generation := seen.Generation()
	c.counts.Records = int64(len(c.records))
	c.ids, c.times = slices.Grow(c.ids, len(c.records)), slices.Grow(c.times, len(c.records))
	c.digests = slices.Grow(c.digests, len(c.records))
	c.bulk.Grow(len(c.records), c.size)
	for i := range c.records {
		r, err := telemetry.Parse(c.records[i].Data)
		replayed := c.records[i].Replayed
		if replayed {
			r.ReceivedAt = time.Time{}
		}
		c.ids, c.times, c.digests = append(c.ids, r.DocID), append(c.times, r.ReceivedAt), append(c.digests, r.Digest)
		if err != nil {
			c.owners.add(nil) // whatever it says
			c.dead = append(c.dead, verdict{at: i, cause: outcome.Error{Type: outcome.TypeForeign, Reason: err.Error()}})
			continue
		}
		c.owners.add(r.Tenant())
		if !replayed { // a disaster may have deleted it since
			if held, known := seen.Seen(r.DocID); known {
				c.meetKnown(i, held, generation)
				continue
			}
		}
		c.add(r, now)
		c.at = append(c.at, i)
		if r.Earlier != nil {
			c.earlier = append(c.earlier, earlier{i, sink.Reference{Index: string(r.Earlier) + c.suffix, ID: string(r.DocIDText)}})
		}
	}
}

// fill builds the bulk anew, of some of the records that were in it before.
func (c *chunk) fill(at []int, now time.Time) {
	c.bulk.Reset()
	for _, i := range at {
		if r, err := telemetry.Parse(c.records[i].Data); err == nil { // it was parsed before
			c.add(r, now)
		}
	}
}

func (c *chunk) add(r telemetry.Record, now time.Time) {
	if c.suffix != "" {
		r.Index = append(slices.Clip(r.Index), c.suffix...)
	}
	c.bulk.Add(r, now)
}

// halves cuts a list of two records or more in two parts of about the same size
// in bytes.
func (c *chunk) halves(at []int) (first, second []int) {
	total := 0
	for _, i := range at {
		total += len(c.records[i].Data)
	}
	cut, half := 0, 0
	for cut < len(at)-1 && (cut == 0 || 2*half < total) {
		half += len(c.records[at[cut]].Data)
		cut++
	}
	return at[:cut:cut], at[cut:]
}
