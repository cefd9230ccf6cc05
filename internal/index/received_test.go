package index

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// aged makes an index whose documents, by their ids, were received then.
func (s server) aged(t *testing.T, received map[string]time.Time) string {
	t.Helper()
	s.ready(t)
	name := s.name(t)
	for id, at := range received {
		s.call(t, http.MethodPut, "/"+name+"/_doc/"+id, fmt.Sprintf(`{"received_at":%q,"indexed_at":%q}`,
			at.Format(telemetry.ReceivedAtLayout), at.Add(time.Minute).Format(telemetry.ReceivedAtLayout)))
	}
	s.call(t, http.MethodPost, "/"+name+"/_refresh", "")
	return name
}

func TestWhenDocumentsWereReceived(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		early, late := now.Add(-48*time.Hour), now.Add(-time.Hour)
		name := s.aged(t, map[string]time.Time{"a": early, "b": late, "c": now})
		s.call(t, http.MethodPut, "/"+name+"/_doc/foreign?refresh=true", `{}`)
		for before, want := range map[time.Time]Receipts{
			{}:                            {Documents: 4, First: early, Last: now, Indexed: now.Add(time.Minute)},
			now:                           {Documents: 2, First: early, Last: late, Indexed: late.Add(time.Minute)},
			early:                         {},
			early.Add(time.Millisecond):   {Documents: 1, First: early, Last: early, Indexed: early.Add(time.Minute)},
			now.Add(365 * 24 * time.Hour): {Documents: 3, First: early, Last: now, Indexed: now.Add(time.Minute)},
		} {
			if got, err := s.client.Received(t.Context(), name, before); err != nil || got != want {
				t.Errorf("before %s: %+v, want %+v: %v", before, got, want, err)
			}
		}
	})
}

// TestOnlyTheVersionThatWasFoundIsDeleted: what was written anew since stays, and
// what is gone already is no error.
func TestOnlyTheVersionThatWasFoundIsDeleted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		old := now.Add(-48 * time.Hour)
		name := s.aged(t, map[string]time.Time{"a": old, "b": old, "c": old, "young": now})
		found, err := s.client.FindReceivedBefore(t.Context(), name, now, 10)
		if err != nil || len(found) != 3 {
			t.Fatalf("found %+v, %v", found, err)
		}
		if few, err := s.client.FindReceivedBefore(t.Context(), name, now, 2); err != nil || len(few) != 2 {
			t.Errorf("at most two are %+v, %v", few, err)
		}
		s.call(t, http.MethodPut, "/"+name+"/_doc/a", `{"received_at":"2026-11-24T00:00:00.000Z"}`)
		s.call(t, http.MethodDelete, "/"+name+"/_doc/b", "")
		deleted, err := s.client.DeleteVersions(t.Context(), name, found)
		if err != nil || deleted != 1 {
			t.Errorf("deleted %d, %v", deleted, err)
		}
		if left := s.state(t, name).Documents; left != 2 {
			t.Errorf("left are %d", left)
		}
		if deleted, err := s.client.DeleteVersions(t.Context(), name, nil); deleted != 0 || err != nil {
			t.Errorf("of none: %d, %v", deleted, err)
		}
	})
}

// TestASealedIndexTakesNothing until it is unsealed; a block that an operator had
// set before stays.
func TestASealedIndexTakesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		name := s.filled(t, 1)
		write := func(id string) outcome.Class { return s.one(t, record(t, name, id, `{}`)).Class }
		s.state(t, name) // refreshed
		unseal, err := s.client.Seal(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := write("sealed"); got != outcome.Transient {
			t.Errorf("sealed, a write is %v", got)
		}
		found, err := s.client.FindReceivedBefore(t.Context(), name, now.Add(time.Hour), 1)
		if err != nil || len(found) != 1 {
			t.Fatalf("found %+v, %v", found, err)
		}
		var refused *StatusError
		if deleted, err := s.client.DeleteVersions(t.Context(), name, found); deleted != 0 || !errors.As(err, &refused) || !strings.Contains(err.Error(), "block") {
			t.Errorf("sealed, a deletion is %d, %v", deleted, err)
		}
		if err := unseal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := write("unsealed"); got != outcome.Indexed {
			t.Errorf("unsealed, a write is %v", got)
		}
		s.call(t, http.MethodPut, "/"+name+"/_settings", `{"index.blocks.write":true}`)
		if unseal, err = s.client.Seal(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if err := unseal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := write("blocked"); got != outcome.Transient {
			t.Errorf("blocked by an operator, a write is %v", got)
		}
		s.call(t, http.MethodDelete, "/"+name, "")
		if _, err := s.client.Seal(t.Context(), name); !errors.Is(err, ErrMissing) {
			t.Errorf("an index that is not there: %v", err)
		}
		if err := unseal(t.Context()); err != nil {
			t.Errorf("unsealed when it is gone: %v", err)
		}
	})
}

// Two who delete an index at the same time, as two canaries of one cluster do, both find that it is gone.
func TestAnIndexIsDeletedByManyAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		for range 10 {
			name := s.index(t, `{}`)
			var group errgroup.Group
			for range 8 {
				group.Go(func() error { return s.client.DeleteIndex(t.Context(), name) })
			}
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
		}
	})
}
