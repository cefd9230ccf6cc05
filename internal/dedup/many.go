package dedup

import (
	"runtime"
	"slices"
	"sync"

	"millrace/internal/telemetry"
)

// Held is what SeenAll finds of an id: see Seen.
type Held struct {
	Digest uint32
	Seen   bool
}

// SeenAll is Seen for many ids: it appends what it finds of each to held, in their order. For one id, a cache miss is most of
// what a look-up takes; those of a shard together take its lock once, and wait for memory together.
func (c *Cache) SeenAll(ids []telemetry.DocID, held []Held) []Held {
	begin := len(held)
	held = slices.Grow(held, len(ids))[:begin+len(ids)]
	found := held[begin:]
	c.eachShard(ids, func(s *shard, positions []int32) {
		for _, i := range positions {
			found[i].Digest, found[i].Seen = s.seen(key(ids[i][:keySize]))
		}
	})
	return held
}

// MarkAll is Mark for many ids, with the digest of each.
func (c *Cache) MarkAll(generation uint64, ids []telemetry.DocID, digests []uint32) {
	c.eachShard(ids, func(s *shard, positions []int32) {
		if generation < c.generation.Load() { // under the lock, see Mark
			return
		}
		for _, i := range positions {
			s.mark(key(ids[i][:keySize]), digests[i])
		}
	})
}

var orders = sync.Pool{New: func() any { return new([]int32) }}

// eachShard calls use for each shard that has some of the ids, with its lock, and with their positions in order.
func (c *Cache) eachShard(ids []telemetry.DocID, use func(s *shard, positions []int32)) {
	memory := orders.Get().(*[]int32)
	defer orders.Put(memory)
	*memory = slices.Grow((*memory)[:0], len(ids))[:len(ids)]
	order := *memory

	var ends [shards]int32 // first how many, then where the next goes
	for i := range ids {
		ends[shardOf(&ids[i])]++
	}
	begin := int32(0)
	for n, count := range ends {
		ends[n], begin = begin, begin+count
	}
	for i := range ids {
		end := &ends[shardOf(&ids[i])]
		order[*end] = int32(i) //nolint:gosec // a chunk has fewer
		*end++
	}
	begin = 0
	for n, end := range ends {
		if end > begin {
			c.useShard(n, ids, order[begin:end], use)
		}
		begin = end
	}
}

func (c *Cache) useShard(n int, ids []telemetry.DocID, positions []int32, use func(s *shard, positions []int32)) {
	s := &c.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch(ids, positions)
	use(s, positions)
}

// touch reads where the search for each id begins, so that they come from memory at the same time: a search that waits for its
// entry lets no later one begin, once the processor has guessed wrong how it ends.
func (s *shard) touch(ids []telemetry.DocID, positions []int32) {
	touched := uint32(0)
	for _, i := range positions {
		touched |= s.table[s.home((*key)(ids[i][:keySize]))]
	}
	runtime.KeepAlive(touched) // or the compiler would leave the reads out
}
