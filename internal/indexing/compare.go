package indexing

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// A record whose id is indexed is one that came again, a duplicate, or says
// something else under the same id, a conflict: the document stays, and what the
// record says is in the backup alone. Which of the two it is digests tell.

// comparing is what the shards of a worker share to tell them apart.
type comparing struct {
	looks *rate.Limiter  // of documents
	log   rate.Sometimes // names conflicts
}

const (
	// compareWithin bounds a look at documents. It is not repeated: the records
	// are durable, and no shard waits to know.
	compareWithin = 5 * time.Second
	// namedAtOnce is how many conflicts the log names at once, and then one a
	// second: a careless agent makes them by the thousand.
	namedAtOnce = 10
)

func newComparing(perSecond int) *comparing {
	if perSecond <= 0 {
		return nil
	}
	return &comparing{looks: rate.NewLimiter(rate.Limit(perSecond), perSecond), log: rate.Sometimes{First: namedAtOnce, Interval: time.Second}}
}

// met is a record of a chunk that is indexed already, as was found out in that
// generation of the cache.
type met struct {
	at         int
	generation uint64
}

// Meet enters a record that is indexed, in a document of that digest. The records need
// not have been sent.
func (c *Chunk) Meet(at int, document telemetry.Digest) {
	if len(c.digests) == 0 {
		for _, record := range c.Records {
			r, _ := telemetry.Parse(record.Data) // of a foreign one there is no digest
			c.digests = append(c.digests, r.Digest)
		}
	}
	c.enterMet(at, document != 0, document == c.digests[at])
}

// meetKnown enters a record that a cache knows, with 32 bits of its document's
// digest. Where it has none the document may tell.
func (c *Chunk) meetKnown(at int, held uint32, generation uint64) {
	if held == 0 {
		c.met = append(c.met, met{at, generation})
		return
	}
	c.enterMet(at, true, held == c.digests[at].Short())
}

func (c *Chunk) enterMet(at int, known, same bool) {
	switch {
	case !known || c.digests[at] == 0:
		c.Counts.Unchecked++
	case same:
		c.Counts.Duplicates++
	default:
		c.Counts.Conflicts++
		c.conflicts = append(c.conflicts, at)
	}
}

// compare compares the records of a chunk that are indexed already with their
// documents, as many as may be looked at, and names those that say something
// else.
func (s *Run) compare(c *Chunk) {
	if s.indexer.comparing == nil {
		c.Counts.Duplicates += int64(len(c.met))
		c.met, c.conflicts = c.met[:0], c.conflicts[:0]
		return
	}
	found := s.lookAt(c)
	for _, m := range c.met {
		document := found[m.at]
		s.indexer.Seen.Mark(m.generation, c.ids[m.at], document.Short())
		c.Meet(m.at, document)
	}
	c.met = c.met[:0]
	s.NameConflicts(c)
}

// lookAt returns the digests of documents, by the positions of their records:
// of those that have one to compare it with, and within the rate.
func (s *Run) lookAt(c *Chunk) map[int]telemetry.Digest {
	var at []int
	for _, m := range c.met {
		if c.digests[m.at] != 0 {
			at = append(at, m.at)
		}
	}
	at = at[:s.indexer.comparing.grant(len(at))]
	if len(at) == 0 {
		return nil
	}
	documents := make([]sink.Reference, len(at))
	for n, i := range at {
		documents[n] = c.document(i)
	}
	ctx, cancel := context.WithTimeout(s.call.Work, compareWithin)
	defer cancel()
	found, err := s.indexer.Lookup.Find(ctx, documents)
	if err != nil {
		slog.Debug("cannot compare records with their documents: they count as unchecked", "records", len(at), "error", err)
	}
	digests := make(map[int]telemetry.Digest, len(found))
	for n, f := range found {
		digests[at[n]] = f.Digest
	}
	return digests
}

// grant returns how many documents of so many may be looked at now.
func (c *comparing) grant(of int) int {
	for {
		n := min(of, int(c.looks.Tokens()))
		if n <= 0 {
			return 0
		}
		if c.looks.AllowN(time.Now(), n) { // no other shard was faster
			return n
		}
	}
}

// document names the document of a record, which was parsed before.
func (c *Chunk) document(at int) sink.Reference {
	r, _ := telemetry.Parse(c.Records[at].Data)
	return sink.Reference{Index: string(r.Index) + c.Suffix, ID: string(r.DocIDText)}
}

// NameConflicts names conflicts in the log, as often as that may be.
func (s *Run) NameConflicts(c *Chunk) {
	if s.indexer.comparing == nil {
		return
	}
	for _, at := range c.conflicts {
		s.indexer.comparing.log.Do(func() {
			r, _ := telemetry.Parse(c.Records[at].Data) // it was parsed before
			slog.Warn("a record says something else than the document of its id, which stays",
				"doc_id", string(r.DocIDText), "index", string(r.Index)+c.Suffix, "tenant", string(r.Tenant()), "shard", s.shard, "received_at", r.ReceivedAt)
		})
	}
	c.conflicts = c.conflicts[:0]
}
