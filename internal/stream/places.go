package stream

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // it is how Kinesis assigns keys to shards
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

// places say which shard takes a key: the shards that are open, as they were last listed. They may be stale, which costs
// nothing but that a container is in another shard than some of its documents would be alone.
type places struct {
	survey
	last  []hash // of each open shard the last hash that it takes, in order
	ids   []string
	stale bool // a record went elsewhere
}

// refresh lists the shards if they are not known, or no longer true. While they are not known, each document goes alone.
func (s *Stream) refresh(ctx context.Context) {
	p := &s.places
	p.Lock()
	due := p.last == nil || p.stale
	p.Unlock()
	if !due {
		return
	}
	p.take(ctx, placesAge, func(ctx context.Context) error {
		shards, err := s.Shards(ctx)
		if err == nil {
			p.set(shards)
		}
		return err
	})
}

func (p *places) set(shards []Shard) {
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
	slices.SortFunc(all, func(a, b open) int { return cmp.Or(bytes.Compare(a.last[:], b.last[:]), cmp.Compare(a.id, b.id)) })
	p.Lock()
	defer p.Unlock()
	p.last, p.ids, p.stale = nil, nil, false
	for _, shard := range all {
		p.last, p.ids = append(p.last, shard.last), append(p.ids, shard.id)
	}
}

// of returns the shard that takes a hash; "" if that is not known.
func (p *places) of(h hash) string {
	p.Lock()
	defer p.Unlock()
	at, _ := slices.BinarySearchFunc(p.last, h, func(last, h hash) int { return bytes.Compare(last[:], h[:]) })
	if at == len(p.ids) {
		return ""
	}
	return p.ids[at]
}

// went notes to which shard a key went.
func (p *places) went(key, shard string) {
	if shard == "" || p.of(hashOf(key)) == shard {
		return
	}
	p.Lock()
	p.stale = true
	p.Unlock()
}
