package batching

import (
	"testing"
	"time"
)

// TestFewestPlacesDoNotLast: once there are so few that no batch is beside more, what those before them took is forgotten, and
// there are more places again.
func TestFewestPlacesDoNotLast(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit   float64
		crowded time.Duration // what the last batch took that was beside more
	}{
		"far longer":      {leastPlaces + 1, 100 * time.Millisecond}, // half a place less than one more
		"a little longer": {leastPlaces + 0.5, 17 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlaces(DefaultInFlight)
			p.limit, p.alone, p.doubling = c.limit, 10*time.Millisecond, false
			p.learn(trip{crowded: true}, c.crowded)
			if int(p.limit) != leastPlaces {
				t.Fatalf("there are %g places", p.limit)
			}
			for range 20 {
				p.fulls++
				p.learn(trip{fulls: p.fulls - 1}, 10*time.Millisecond)
			}
			if int(p.limit) == leastPlaces {
				t.Errorf("there are still %g places", p.limit)
			}
		})
	}
}
