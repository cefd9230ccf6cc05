package snapshot

import (
	"time"

	"millrace/internal/backup"
)

// SettledBy is the latest time of which nothing is on its way to the cluster any more.
// longestBulk is how long a bulk may be at work.
func SettledBy(longestBulk time.Duration) time.Time {
	return time.Now().Add(-longestBulk - backup.ClockSkew).UTC().Truncate(time.Millisecond)
}

// RepositoryKey is where in the bucket stands what a repository is, for a cluster that
// has never heard of it.
func RepositoryKey(name string) string { return "repositories/" + name + ".json" }
