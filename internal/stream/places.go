package stream

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // it is how Kinesis assigns keys to shards
	"log/slog"
	"math"
	"math/big"
	"slices"
	"time"
)

// hash is the MD5 of a partition key, by which Kinesis assigns the key to a shard (API reference of PutRecords).
type hash [md5.Size]byte

func hashOf(partitionKey string) hash {
	return md5.Sum([]byte(partitionKey)) //nolint:gosec // see above
}

// decimal is the form in which Kinesis takes and gives hashes.
func (h hash) decimal() string { return new(big.Int).SetBytes(h[:]).String() }

// parseHash reads it.
func parseHash(decimal string) (h hash, ok bool) {
	n, ok := new(big.Int).SetString(decimal, 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 8*len(h) {
		return h, false
	}
	n.FillBytes(h[:])
	return h, true
}

// placesAge is the shortest time between two looks at the shards of a stream that is being resharded.
const placesAge = 5 * time.Second

// places are the shards as a writer knows them. They may be stale, which costs nothing but that a container is in another
// shard than some of its documents would be alone.
type places struct {
	survey
	shards *openShards // guarded by survey; nil: not known
	stale  bool        // a record went elsewhere
}

// openShards say which shard takes a hash: of each the last hash that it takes, in order. They do not change.
type openShards struct {
	last []hash
	ids  []string
}

// refresh lists the shards if they are not known, or no longer true. While they are not known, each document goes alone.
func (s *Stream) refresh(ctx context.Context) {
	p := &s.places
	p.Lock()
	due := p.shards == nil || p.stale
	p.Unlock()
	if !due {
		return
	}
	p.take(ctx, placesAge, math.MaxInt64, func(ctx context.Context) error {
		shards, err := s.Shards(ctx)
		if err != nil {
			slog.Warn("could not list the shards to put containers in, trying again", "stream", s.name, "error", err)
			return err
		}
		p.Lock()
		defer p.Unlock()
		p.shards, p.stale = newOpenShards(shards), false
		return nil
	})
}

// known returns them.
func (p *places) known() *openShards {
	p.Lock()
	defer p.Unlock()
	return p.shards
}

func newOpenShards(shards []Shard) *openShards {
	type open struct {
		last hash
		id   string
	}
	var all []open
	for _, shard := range shards {
		if last, ok := parseHash(shard.LastHash); ok && shard.Last == "" {
			all = append(all, open{last, shard.ID})
		}
	}
	slices.SortFunc(all, func(a, b open) int { return bytes.Compare(a.last[:], b.last[:]) })
	o := &openShards{}
	for _, shard := range all {
		o.last, o.ids = append(o.last, shard.last), append(o.ids, shard.id)
	}
	return o
}

// of returns the shard that takes a hash; "" if that is not known.
func (o *openShards) of(h hash) string {
	if o == nil {
		return ""
	}
	at, _ := slices.BinarySearchFunc(o.last, h, func(last, h hash) int { return bytes.Compare(last[:], h[:]) })
	if at == len(o.ids) {
		return ""
	}
	return o.ids[at]
}

// went notes to which shard a key went.
func (p *places) went(key, shard string) {
	if shard == "" || p.known().of(hashOf(key)) == shard {
		return
	}
	p.Lock()
	p.stale = true
	p.Unlock()
}
