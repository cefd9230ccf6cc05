package telemetry

import (
	"strings"
	"time"
)

// CanaryTenant is the tenant of the canary, a record that is posted every few
// seconds to see whether it can be searched soon. No other tenant may have this
// name: package keyfile reserves it.
const CanaryTenant = "millrace-canary"

// canaryPrefix begins the names of the canary's indices, one for each day. It is
// none of IndexPrefix, so what names all telemetry by telemetry-*, such as
// snapshots, retention, recoveries and queries of analysts, leaves them out.
const canaryPrefix = "millrace-canary-"

// CanaryIndices is the pattern of the canary's indices.
const CanaryIndices = canaryPrefix + "*"

// IsCanary reports whether an index is one of the canary's. Its records are in the
// stream and in the backup, too, and who reads them there leaves them out: they are
// deleted after a day.
func IsCanary[T string | []byte](index T) bool {
	return strings.HasPrefix(string(index), canaryPrefix)
}

// CanaryIndex is where a record of the canary goes: by the day on which it is
// received, whatever its own time and type, so that there is one a day at most.
func CanaryIndex(received time.Time) string {
	return canaryPrefix + received.UTC().Format(dateLayout)
}

// ParseCanaryIndex returns the day, UTC, of an index of the canary. It is false for
// any other name.
func ParseCanaryIndex(name string) (day time.Time, ok bool) {
	date, ours := strings.CutPrefix(name, canaryPrefix)
	day, err := time.Parse(dateLayout, date)
	return day, ours && err == nil
}
