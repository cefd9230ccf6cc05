package telemetry

import (
	"testing"
	"time"
)

// TestCanaryHasIndicesOfItsOwn, which no pattern of telemetry matches, and the
// stream takes.
func TestCanaryHasIndicesOfItsOwn(t *testing.T) {
	t.Parallel()
	name := CanaryIndex(received)
	if name != "millrace-canary-2026.11.23" || !IsCanary(name) || !IsCanary([]byte(name)) {
		t.Errorf("its index is %s", name)
	}
	if day, ok := ParseCanaryIndex(name); !ok || !day.Equal(received.Truncate(24*time.Hour)) {
		t.Errorf("its day is %s, %t", day, ok)
	}
	if _, ours := ParseIndex(name); ours {
		t.Error("it is an index of telemetry")
	}
	for _, other := range []string{"telemetry-canary-2026.11.23", IndexName("canary", received), "millrace-canary", ""} {
		if IsCanary(other) || IsCanary([]byte(other)) {
			t.Errorf("%q counts as the canary's", other)
		}
	}
	for _, odd := range []string{"millrace-canary-", "millrace-canary-2026", "telemetry-log-2026.11.23", "millrace-canary-2026.11.23-drill"} {
		if day, ok := ParseCanaryIndex(odd); ok {
			t.Errorf("%q is of %s", odd, day)
		}
	}
	h := head()
	h.Index, h.Tenant = name, CanaryTenant
	r, err := Parse(AppendRecord(nil, h, []byte(`{}`)))
	if err != nil || !IsCanary(r.Index) {
		t.Errorf("its record has the index %s, %v", r.Index, err)
	}
	h.Index = "millrace-canary-of-no-day"
	if r, err := Parse(AppendRecord(nil, h, []byte(`{}`))); err == nil {
		t.Errorf("a record has the index %s, which would never be deleted", r.Index)
	}
}
