package sink

import "context"

// Bulker sends a bulk once and says what became of each document. It is safe for
// concurrent use.
type Bulker interface {
	Do(ctx context.Context, b *Bulk) Result
}

// Lookup finds documents. It is safe for concurrent use.
type Lookup interface {
	// Find reports of each document whether it is indexed, and its digest. A
	// *LookupError leaves the answers for all other documents.
	Find(ctx context.Context, documents []Reference) ([]Found, error)
}
