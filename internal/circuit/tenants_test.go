package circuit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"millrace/test/kit/made"
)

func TestAnOffenderEndsWhenItsRecordsAreGood(t *testing.T) {
	t.Parallel()
	now, known := time.Unix(1000, 0), tenants{}
	enter := func(records int, bad float64) TenantState {
		known.enter("a", Sample{records, bad}, Least, false, now)
		return known["a"].TenantState
	}
	if enter(Least-1, Least-1).Offends() {
		t.Error("few records are enough")
	}
	if s := enter(1, 1); !s.Offends() || !s.Since.Equal(now) {
		t.Errorf("it is %+v", s)
	}
	began := now
	now = now.Add(time.Hour)
	if s := enter(Least, Least); !s.Since.Equal(began) {
		t.Errorf("it begins again: %+v", s)
	}
	for n := range 2 * WindowRecords {
		s := enter(1, 0)
		if n > WindowRecords && s.Offends() {
			t.Fatalf("after %d good records it is %+v", n, s)
		}
		if len(known["a"].last.samples) > 2*WindowRecords/sampleRecords {
			t.Fatalf("%d samples", len(known["a"].last.samples))
		}
	}
}

func TestAShardRemembersSoManyTenants(t *testing.T) {
	t.Parallel()
	known := tenants{}
	for n := range 3 * mostTenants {
		known.enter(fmt.Sprint(n), Sample{Least, Least}, Least, false, time.Unix(int64(n), 0))
	}
	if len(known) != mostTenants || known[fmt.Sprint(3*mostTenants-1)] == nil || known[made.Sequence(0)] != nil {
		t.Errorf("%d tenants are known", len(known))
	}
	if told := known.told(); len(told) != mostTold {
		t.Errorf("%d tenants are told", len(told))
	}
}

// TestMostTenantsMustOffend: it takes two, and more of them than do well; a
// tenant that sent nothing lately does not count, nor what no collector wrote.
func TestMostTenantsMustOffend(t *testing.T) {
	t.Parallel()
	now := time.Unix(100_000, 0)
	bad, good, few := Sample{200, 200}, Sample{10, 0}, Sample{10, 10}
	for name, c := range map[string]struct {
		of   map[string]Sample
		old  []string
		want bool
	}{
		"one alone":             {map[string]Sample{"a": bad}, nil, false},
		"two of two":            {map[string]Sample{"a": bad, "b": bad}, nil, true},
		"two of three":          {map[string]Sample{"a": bad, "b": bad, "c": good}, nil, true},
		"two of four":           {map[string]Sample{"a": bad, "b": bad, "c": good, "d": good}, nil, false},
		"good ones have gone":   {map[string]Sample{"a": bad, "b": bad, "c": good, "d": good}, []string{"c", "d"}, true},
		"bad ones have gone":    {map[string]Sample{"a": bad, "b": bad}, []string{"b"}, false},
		"too few of another":    {map[string]Sample{"a": bad, "b": few}, nil, false},
		"foreign and a bad one": {map[string]Sample{"": bad, "a": bad}, nil, false},
	} {
		known := tenants{}
		for tenant, of := range c.of {
			at := now
			if slices.Contains(c.old, tenant) {
				at = now.Add(-2 * recent)
			}
			known.enter(tenant, of, Least, false, at)
		}
		if got := known.mostOffend(now); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestAnOffenderThatSendsNoMoreIsNoneNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	for name, c := range map[string]struct {
		state TenantState
		want  bool
	}{
		"it sends":         {TenantState{Since: now.Add(-time.Hour), Seen: now.Add(-recent)}, true},
		"it sends no more": {TenantState{Since: now.Add(-time.Hour), Seen: now.Add(-recent - time.Second)}, false},
		"it never did":     {TenantState{Seen: now}, false},
	} {
		if got := c.state.OffendsNow(now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
