// Package recovery has the activities of Recover, Replay and DrillRecovery: plan.go and
// freeze.go list what is wanted, restore.go restores snapshots, sweep*.go backfills and
// verifies.
package recovery
