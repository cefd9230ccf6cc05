package stream

import "context"

// Lister lists the shards of a stream. See Stream.
type Lister interface {
	Shards(ctx context.Context) ([]Shard, error)
}
