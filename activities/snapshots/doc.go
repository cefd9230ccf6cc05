// Package snapshots has the activities that make, follow and expire snapshots, and that
// enforce retention.
package snapshots
