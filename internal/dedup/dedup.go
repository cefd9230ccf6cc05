// Package dedup remembers which documents a worker has indexed, so that a
// record which comes again costs neither an Elasticsearch operation nor a
// byte of a bulk body. It only saves work: writes are `create` under an id
// derived from the record, so an empty cache is slower and never wrong. Beside
// each id it keeps 32 bits of the document's digest, by which a record that
// says something else is told from one that came again.
//
// A Cache is a map with a bounded size that forgets its oldest ids in
// hundreds. Each of its shards keeps a ring of keys and digests in the order of
// their arrival, and an open-addressing table of 32-bit entries, each a position
// in that ring and as many bits of the key's hash as there is room for: 27 bytes
// an id at the default capacity, and nothing for the garbage collector to
// follow. The bits of the hash spare nearly every look at another key on the
// way, which would be a cache miss each.
package dedup

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"

	"millrace/internal/telemetry"
)

const (
	// DefaultCapacity is how many ids a cache holds unless told otherwise.
	DefaultCapacity = 10_000_000

	// evictAtOnce is how many of a shard's oldest ids go when it is full.
	evictAtOnce = 100

	shardBits = 6
	shards    = 1 << shardBits

	// keySize is how much of a DocID is kept: 128 of its 160 bits. Among 10 M
	// ids, two that share them are found with a chance of 1.5e-25.
	keySize = 16

	smallestTable = 64
)

type key [keySize]byte

func (k *key) hash() uint64 { return binary.LittleEndian.Uint64(k[:8]) }

// known is a document in a ring.
type known struct {
	key
	digest uint32 // see telemetry.Digest.Short
}

// Cache is a map of document ids to digests, safe for concurrent use. Lookups and, once
// a shard has grown to its size, inserts do not allocate.
type Cache struct {
	generation atomic.Uint64
	shards     [shards]shard
}

type shard struct {
	mu        sync.Mutex
	capacity  int
	ring      []known  // in order of arrival, from oldest on, round the end
	oldest    int      // position in ring
	count     int      // ids held
	table     []uint32 // entries; zero is empty; a power of two long
	positions uint32   // mask of an entry's position in ring plus one; the rest is its tag
	hits      uint64
	evictions uint64
	_         [64]byte // keeps the locks of neighbours off one cache line
}

// New makes a cache for about capacity ids. Memory grows with what it holds.
// A capacity below the least that can be evicted at once is raised to it.
func New(capacity int) *Cache {
	c := &Cache{}
	for i := range c.shards {
		s := &c.shards[i]
		s.capacity = max((capacity+shards-1)/shards, evictAtOnce)
		s.positions = 1<<bits.Len(uint(s.capacity)) - 1
		s.clear()
	}
	return c
}

func (c *Cache) find(id telemetry.DocID) (*shard, key) {
	return &c.shards[shardOf(&id)], key(id[:keySize])
}

// shardOf is of the lowest bits of the hash.
func shardOf(id *telemetry.DocID) int { return int(id[0] & (shards - 1)) }

// Seen reports whether id was marked and not forgotten since, and the digest that
// it was marked with; zero where that was not known.
func (c *Cache) Seen(id telemetry.DocID) (digest uint32, seen bool) {
	s, k := c.find(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen(k)
}

func (s *shard) seen(k key) (digest uint32, seen bool) {
	entry := s.table[s.slot(k)]
	if entry == 0 {
		return 0, false
	}
	s.hits++
	return s.ring[s.at(entry)].digest, true
}

// Mark remembers that id is indexed, with a document of that digest; zero where
// that is not known, which a later mark makes good. Call it only after Elasticsearch has said
// so, with the generation that was read before its bulk was sent: a mark from
// before the last Raise is ignored, as that document may be gone.
func (c *Cache) Mark(generation uint64, id telemetry.DocID, digest uint32) {
	s, k := c.find(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Under the lock: Raise moves the generation first and then empties each
	// shard, so that an old mark is either refused here or cleared there.
	if generation >= c.generation.Load() {
		s.mark(k, digest)
	}
}

func (s *shard) mark(k key, digest uint32) {
	slot := s.slot(k)
	if entry := s.table[slot]; entry != 0 {
		if held := &s.ring[s.at(entry)]; held.digest == 0 {
			held.digest = digest
		}
		return
	}
	if s.count == s.capacity {
		s.evict()
		slot = s.slot(k)
	} else if 4*(s.count+1) > 3*len(s.table) {
		s.grow()
		slot = s.slot(k)
	}
	at := s.oldest + s.count
	if at >= s.capacity {
		at -= s.capacity
	}
	if at == len(s.ring) {
		s.ring = appendWithin(s.ring, known{k, digest}, s.capacity)
	} else {
		s.ring[at] = known{k, digest}
	}
	s.table[slot] = s.entry(at)
	s.count++
}

// Generation is what the next marks must carry.
func (c *Cache) Generation() uint64 { return c.generation.Load() }

// Raise forgets everything and refuses marks of earlier generations. A
// recovery raises it, because what was indexed before the disaster may not be
// there any more. A generation that is not newer changes nothing.
func (c *Cache) Raise(generation uint64) {
	for {
		now := c.generation.Load()
		if generation <= now {
			return
		}
		if c.generation.CompareAndSwap(now, generation) {
			break
		}
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
}

// Stats are the counters of a cache since it was made.
type Stats struct {
	Size      int    // ids held now
	Hits      uint64 // lookups that found their id
	Evictions uint64 // ids forgotten because the cache was full
}

// Stats adds up the shards.
func (c *Cache) Stats() Stats {
	var total Stats
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		total.Size += s.count
		total.Hits += s.hits
		total.Evictions += s.evictions
		s.mu.Unlock()
	}
	return total
}

// slot returns where k stands in the table, or the empty slot where it would.
func (s *shard) slot(k key) int {
	mask, tag := len(s.table)-1, s.tag(&k)
	for i := s.home(&k); ; i = (i + 1) & mask {
		entry := s.table[i]
		if entry == 0 || entry&^s.positions == tag && s.ring[s.at(entry)].key == k {
			return i
		}
	}
}

// entry stands in the table for the key at a position in the ring.
func (s *shard) entry(at int) uint32 { return s.tag(&s.ring[at].key) | uint32(at+1) }

// at returns the position in the ring of an entry that is not empty.
func (s *shard) at(entry uint32) int { return int(entry&s.positions) - 1 }

// tag is of the half of the hash that home does not use.
func (s *shard) tag(k *key) uint32 { return uint32(k.hash()>>32) &^ s.positions }

// home is the slot at which the search for k begins. The lowest bits of the
// hash have chosen the shard already.
func (s *shard) home(k *key) int { return int(k.hash()>>shardBits) & (len(s.table) - 1) }

// evict forgets the oldest ids.
func (s *shard) evict() {
	for range evictAtOnce {
		s.remove(s.slot(s.ring[s.oldest].key))
		s.count--
		if s.oldest++; s.oldest == s.capacity {
			s.oldest = 0
		}
	}
	s.evictions += evictAtOnce
}

// remove empties a slot and moves up what stands behind it, so that no search
// ends too early and no tombstones pile up (Knuth, The Art of Computer
// Programming 3, 6.4, algorithm R).
func (s *shard) remove(hole int) {
	mask := len(s.table) - 1
	for i := hole; ; {
		i = (i + 1) & mask
		entry := s.table[i]
		if entry == 0 {
			break
		}
		// An entry may fill the hole unless its home lies behind the hole.
		if home := s.home(&s.ring[s.at(entry)].key); (i-home)&mask >= (i-hole)&mask {
			s.table[hole] = entry
			hole = i
		}
	}
	s.table[hole] = 0
}

// grow doubles the table. Keys stay where they are in the ring.
func (s *shard) grow() {
	s.table = make([]uint32, 2*len(s.table))
	for at := range s.ring {
		s.table[s.slot(s.ring[at].key)] = s.entry(at)
	}
}

func (s *shard) clear() {
	s.ring, s.table = nil, make([]uint32, smallestTable)
	s.oldest, s.count = 0, 0
}

// appendWithin appends k, doubling the memory but never past limit.
func appendWithin(ring []known, k known, limit int) []known {
	if len(ring) == cap(ring) {
		larger := make([]known, len(ring), min(max(2*len(ring), smallestTable), limit))
		copy(larger, ring)
		ring = larger
	}
	return append(ring, k)
}
