package dedup_test

import (
	"fmt"
	"time"

	"millrace/internal/dedup"
	"millrace/internal/telemetry"
)

// A worker looks each record up before it indexes it, and marks it once Elasticsearch has answered.
func Example() {
	cache := dedup.New(1000)
	id := telemetry.NewDocID("acme", "telemetry-span-2026.11.23", "span-1")
	sent := telemetry.DigestOf("span", time.Unix(0, 0), []byte(`{"name":"GET /"}`))

	generation := cache.Generation() // before the bulk is sent
	_, seen := cache.Seen(id)
	fmt.Println("seen before it is indexed:", seen)

	cache.Mark(generation, id, sent.Short())
	digest, seen := cache.Seen(id)
	fmt.Println("seen again:", seen, "with the same content:", digest == sent.Short())

	cache.Raise(generation + 1) // a recovery: the document may be gone
	cache.Mark(generation, id, sent.Short())
	_, seen = cache.Seen(id)
	fmt.Println("seen after a recovery:", seen)

	// Output:
	// seen before it is indexed: false
	// seen again: true with the same content: true
	// seen after a recovery: false
}
