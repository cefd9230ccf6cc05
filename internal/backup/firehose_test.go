package backup_test

import (
	"strings"
	"testing"
	"time"

	"millrace/internal/backup"
)

// TestFirehosePassesTime: by the time in an object's name, else by
// the hour in its key; by days from the first midnight on.
func TestFirehosePassesTime(t *testing.T) {
	t.Parallel()
	at := time.Now().UTC().Add(-72 * time.Hour).Truncate(24 * time.Hour).Add(15*time.Hour + 20*time.Minute)
	named := func(after time.Duration, of string) string {
		began := at.Add(after)
		return began.Format("2006/01/02/15/") + "millrace-1-" + began.Format("2006-01-02-15-04-05") + of
	}
	for name, c := range map[string]struct {
		key  string
		want bool
	}{
		"behind it":                         {named(2*time.Minute, "-0c2b"), true},
		"behind it, packed":                 {named(2*time.Minute, "-0c2b.gz"), true},
		"at it":                             {named(0, "-0c2b"), false},
		"within the clocks":                 {named(59*time.Second, "-0c2b"), false},
		"before it":                         {named(-2*time.Minute, "-0c2b"), false},
		"without a time, in its hour":       {at.Format("2006/01/02/15/") + "x", false},
		"without a time, in the next":       {at.Add(time.Hour).Format("2006/01/02/15/") + "x", true},
		"in its hour, with no time that is": {at.Format("2006/01/02/15/") + "x-1-2026-99-99-99-99-99-y", false},
		"two days later":                    {named(50*time.Hour, "-0c2b"), true},
		"none of Firehose's":                {"dt=" + at.Add(2*time.Hour).Format("2006-01-02/") + "x", false},
	} {
		s := &shelf{bodies: map[string][]byte{c.key: nil}}
		if got, err := backup.DeliveredBehind(t.Context(), s, at); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if len(s.listed) > 13 || !strings.HasSuffix(s.listed[0], "/15/") {
			t.Errorf("%s: it lists %q", name, s.listed)
		}
	}
}
