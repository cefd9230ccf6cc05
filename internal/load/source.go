package load

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/internal/telemetry"
)

// Source makes the records of one run: record n is the same whenever it is
// asked for, so a duplicate meets its original.
type Source struct {
	// Run begins every id, and tells the records of one run from all others:
	// lower-case letters, digits and hyphens.
	Run string
	// Start is the timestamp of record 0.
	Start time.Time
	// Interval lies between the timestamps of two records.
	Interval time.Duration
	// BadShare is the share of records, 0 to 1, that a collector takes and an
	// index refuses: their duration is not a number.
	BadShare float64
	// Types to make. Default: the mix of mixedTypes.
	Types []string
	// Padding is how many bytes of text record n has beside the usual members.
	// Default: none.
	Padding func(n uint64) int
}

// BadDuration stands in a bad record where a number belongs.
const BadDuration = "not a number"

// mixedTypes are twenty draws: about what an instrumented service sends.
var mixedTypes = slices.Concat(
	slices.Repeat([]string{"span"}, 9), slices.Repeat([]string{"log"}, 6),
	slices.Repeat([]string{"metric"}, 3), []string{"invocation", "event"},
)

// ID returns the id of record n.
func (s *Source) ID(n uint64) string { return string(s.appendID(nil, n)) }

func (s *Source) appendID(dst []byte, n uint64) []byte {
	dst = append(dst, s.Run...)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, n, 10)
}

// DocID returns the _id of record n of a tenant, under which it is found in the
// index and in the backup.
func (s *Source) DocID(tenant string, n uint64) string {
	return telemetry.NewDocID(tenant, telemetry.IndexName(s.Type(n), s.Timestamp(n)), s.ID(n)).String()
}

// Number returns the number of the record with an id, and whether the id is
// one of this run.
func (s *Source) Number(id string) (uint64, bool) {
	digits, ours := strings.CutPrefix(id, s.Run+"-")
	if !ours || digits == "" || digits[0] == '+' || (digits[0] == '0' && digits != "0") {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// Timestamp returns the time at which record n says it happened.
func (s *Source) Timestamp(n uint64) time.Time {
	return s.Start.Add(time.Duration(n) * s.Interval)
}

// Type returns the type of record n.
func (s *Source) Type(n uint64) string {
	types := s.Types
	if len(types) == 0 {
		types = mixedTypes
	}
	return types[draw(n, 1)%uint64(len(types))]
}

// Bad reports whether record n is one that the index refuses.
func (s *Source) Bad(n uint64) bool {
	return s.BadShare > 0 && float64(draw(n, 2)>>11)/(1<<53) < s.BadShare
}

// draw returns the pseudo-random number of record n for one purpose.
func draw(n, purpose uint64) uint64 { return rand.NewPCG(n, purpose).Uint64() }
