package index

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// TestHowManyDocumentsWereSentBeforeATime: of more indices than are asked about at
// once, and of some that cannot be counted.
func TestHowManyDocumentsWereSentBeforeATime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		early, late := now.Add(-time.Hour), now
		name := s.aged(t, map[string]time.Time{"a": early, "b": late}) // sent a minute later
		closed := s.index(t, `{}`)
		s.call(t, http.MethodPost, "/"+closed+"/_close", "")
		var asked []Sent
		var want []int64
		for n := range countsAtOnce {
			before := []time.Time{early, early.Add(time.Minute + time.Millisecond), late.Add(time.Minute), late.Add(time.Hour)}[n%4]
			asked, want = append(asked, Sent{name, before}), append(want, []int64{0, 1, 1, 2}[n%4])
		}
		asked, want = append(asked, Sent{name + "-not", now}, Sent{closed, now}, Sent{name, late.Add(time.Hour)}), append(want, -1, -1, 2)
		if got, err := s.client.CountSent(t.Context(), asked); err != nil || !slices.Equal(got, want) {
			t.Errorf("it counts %v, %v, want %v", got, err, want)
		}
		if got, err := s.client.CountSent(t.Context(), nil); err != nil || len(got) > 0 {
			t.Errorf("of none it counts %v, %v", got, err)
		}
	})
}
