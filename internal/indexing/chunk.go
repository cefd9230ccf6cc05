package indexing

import (
	"cmp"
	"slices"
	"time"

	"millrace/internal/container"
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Chunk is some records that go to the sink in one bulk, and what became of each.
// Its maker fills in the records; the rest is for Run. Its memory is used
// again after Reset. It is not safe for concurrent use.
type Chunk struct {
	Records  []stream.Record
	Suffix   string           // put behind the name of each record's index
	Priority limiter.Priority // of its bulks; that of the Run goes first if it is higher

	// Counts says what became of the records.
	Counts Counts
	// Dead are the records that the sink will never take.
	Dead []Verdict
	// Open are those of which the sink does not say enough: see Verdict.Whole.
	Open []Verdict
	// Parked are those whose index alone is out of service: see Run.Park.
	Parked []Verdict
	// Stopped are the positions of those without an outcome, since the call was
	// stopped before there was one.
	Stopped []int

	// What Parse finds of each record.
	Tenants   Names
	Indices   Names
	Elsewhere []int // positions of those that may stand in another index: see telemetry.Placement

	parser  telemetry.Parser
	ids     []telemetry.DocID  // zero for a foreign one
	cuts    []telemetry.Cuts   // zero for a foreign one
	digests []telemetry.Digest // zero for one without
	origins []delay.Received   // without a time for one that is replayed, or was indexed before
	traced  []int              // positions of those that belong to a trace
	size    int                // of all, in bytes

	held []dedup.Held // what is known of each record

	bulk sink.Bulk
	at   []int     // the record of each document in the bulk
	sent time.Time // the bulk, last

	resent []resent // records in the bulk that may stand in another index
	met    []met    // records that are indexed, to be compared with their documents
	// conflicts are the records that say something else than their documents, to
	// be named.
	conflicts []int
	// Scratch: of what one bulk created.
	received []delay.Received
	created  []telemetry.DocID
	sums     []uint32 // the digests of those
	// acquitted is the share of a sample of those that are blamed as a whole
	// that turned out to be fine.
	acquitted float64
}

// Verdict is on a record that is not indexed.
type Verdict struct {
	At    int // in the chunk
	Cause outcome.Error
	// Whole: the cause is of the request that it was in, with others, and may
	// not be its own.
	Whole bool
}

// Reset makes the chunk ready for the next records and lets go of these.
func (c *Chunk) Reset() {
	clear(c.Records)
	c.Records = c.Records[:0]
	c.unparse()
	c.bulk.Reset()
	c.at, c.resent, c.received = c.at[:0], c.resent[:0], c.received[:0]
	c.met, c.conflicts = c.met[:0], c.conflicts[:0]
	c.Suffix, c.Priority, c.Counts = "", 0, Counts{}
	c.Open, c.Parked, c.Stopped, c.acquitted = nil, nil, nil, 0
}

// unparse forgets what Parse has found.
func (c *Chunk) unparse() {
	c.Tenants.reset()
	c.Indices.reset()
	c.Elsewhere, c.traced, c.Dead = c.Elsewhere[:0], c.traced[:0], nil
	c.ids, c.cuts, c.digests, c.origins, c.size = c.ids[:0], c.cuts[:0], c.digests[:0], c.origins[:0], 0
}

// Keep leaves the chunk only some of its records.
func (c *Chunk) Keep(records []stream.Record) {
	clear(c.Records[len(records):])
	c.Records = records
	c.unparse()
}

// Blame leaves the whole chunk open, after a panic: which record is to blame is not
// known. A ProcessBatch finds those indexed that are.
func (c *Chunk) Blame(err error) {
	c.Counts = Counts{Records: int64(len(c.Records))}
	c.Dead, c.Open, c.Parked, c.Stopped = nil, c.Open[:0], nil, nil
	c.met, c.conflicts = nil, nil
	c.complete()
	for i := range c.Records {
		c.Open = append(c.Open, Verdict{i, outcome.Error{Type: outcome.TypePanic, Reason: err.Error()}, len(c.Records) > 1})
	}
}

// Unattributed returns the verdicts that are those of a whole request, in the order
// of the shard.
func (c *Chunk) Unattributed() (whole []Verdict) {
	slices.SortFunc(c.Open, func(a, b Verdict) int { return cmp.Compare(a.At, b.At) })
	for _, v := range c.Open {
		if v.Whole {
			whole = append(whole, v)
		}
	}
	return whole
}

// Memory is what a record holds in memory, in bytes.
func Memory(r stream.Record) int { return len(r.Data) + RecordOverhead }

// RecordOverhead is about what a stream.Record and its sequence number take, in bytes.
const RecordOverhead = 128

// Parse reads the heads of the chunk's records, for who wants to know of them what it finds before Index, which does it
// otherwise. It fails after a panic, which Index meets again.
func (c *Chunk) Parse(x *Indexer) (err error) {
	defer longcall.CatchPanic(&err)
	c.parse(x)
	return nil
}

// parse is Parse, unless that was done.
func (c *Chunk) parse(x *Indexer) {
	if len(c.cuts) == len(c.Records) {
		return
	}
	c.unparse()
	c.ids, c.cuts = slices.Grow(c.ids, len(c.Records)), slices.Grow(c.cuts, len(c.Records))
	c.digests, c.origins = slices.Grow(c.digests, len(c.Records)), slices.Grow(c.origins, len(c.Records))
	for i := range c.Records {
		r, err := c.parser.Parse(c.Records[i].Data)
		if err != nil {
			c.Dead = append(c.Dead, Verdict{At: i, Cause: foreign(c.Records[i], err)})
			r = telemetry.Record{} // whatever it says
		}
		tenant, region, behind := r.Origin()
		c.Tenants.Add(tenant)
		c.Indices.Add(r.Index)
		if r.Earlier != nil {
			c.Elsewhere = append(c.Elsewhere, i)
		}
		origin := delay.Received{}
		if err == nil && !c.Records[i].Replayed {
			origin = delay.Received{At: r.ReceivedAt, Region: x.Delay.Region(region)}
		}
		if x.Tracer != nil && telemetry.TraceBehind(behind) != nil {
			c.traced = append(c.traced, i)
		}
		c.ids, c.digests, c.origins = append(c.ids, r.DocID), append(c.digests, r.Digest), append(c.origins, origin)
		c.cuts, c.size = append(c.cuts, r.Cuts()), c.size+len(c.Records[i].Data)
	}
}

// complete enters the tenants of those records that a panic has kept from being parsed.
func (c *Chunk) complete() {
	for _, r := range c.Records[len(c.Tenants.Of):] {
		parsed, err := telemetry.Parse(r.Data)
		if err != nil {
			parsed = telemetry.Record{}
		}
		c.Tenants.Add(parsed.Tenant())
	}
}

// HasTwins reports whether two records of the chunk, which is parsed, have one id.
func (c *Chunk) HasTwins() bool {
	seen := make(map[telemetry.DocID]bool, len(c.ids))
	for _, id := range c.ids {
		if seen[id] && id != (telemetry.DocID{}) {
			return true
		}
		seen[id] = true
	}
	return false
}

// sort takes the chunk apart: what does not come from a collector is dead,
// what was indexed before is not indexed again, the rest goes into the bulk.
func (c *Chunk) sort(x *Indexer, now time.Time) {
	generation := x.Seen.Generation()
	c.Counts.Records = int64(len(c.Records))
	c.parse(x)
	c.held = x.Seen.SeenAll(c.ids, c.held[:0])
	c.bulk.Grow(len(c.Records), c.size)
	dead := c.Dead
	for i, held := range c.held {
		if len(dead) > 0 && dead[0].At == i {
			dead = dead[1:]
			continue
		}
		if held.Seen && !c.Records[i].Replayed { // of one that is replayed, a disaster may have deleted the document since
			c.origins[i] = delay.Received{}
			c.meetKnown(i, held.Digest, generation)
			continue
		}
		r := c.head(i)
		c.add(r, now)
		c.at = append(c.at, i)
		if r.Earlier != nil {
			c.resent = append(c.resent, resent{i, sink.Reference{Index: string(r.Earlier) + c.Suffix, ID: string(r.DocIDText)}})
		}
	}
}

// foreign is the error of a record that is not as a collector writes it.
func foreign(r stream.Record, err error) outcome.Error {
	if _, damaged := container.Open(r.Data); damaged != nil {
		return outcome.Error{Type: outcome.TypeDamagedContainer, Reason: damaged.Error()}
	}
	return outcome.Error{Type: outcome.TypeForeign, Reason: err.Error()}
}

// fill builds the bulk anew, of some of the records that were in it before.
func (c *Chunk) fill(at []int, now time.Time) {
	c.bulk.Reset()
	for _, i := range at {
		c.add(c.head(i), now)
	}
}

// head is that of a record which is ours. If it is not there, its memory was overwritten: a panic leaves the whole chunk to
// a ProcessBatch, where a record that was passed over would be lost.
func (c *Chunk) head(at int) telemetry.Record {
	r, stands := c.cuts[at].Of(c.Records[at].Data)
	if !stands {
		panic("a record that was parsed is not there any more")
	}
	return r
}

func (c *Chunk) add(r telemetry.Record, now time.Time) {
	if c.Suffix != "" {
		r.Index = append(slices.Clip(r.Index), c.Suffix...)
	}
	c.bulk.Add(r, now)
}

// halves cuts a list of two records or more in two parts of about the same size
// in bytes.
func (c *Chunk) halves(at []int) (first, second []int) {
	total := 0
	for _, i := range at {
		total += len(c.Records[i].Data)
	}
	cut, half := 0, 0
	for cut < len(at)-1 && (cut == 0 || 2*half < total) {
		half += len(c.Records[at[cut]].Data)
		cut++
	}
	return at[:cut:cut], at[cut:]
}
