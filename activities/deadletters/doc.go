// Package deadletters has the activities that work on the ledger: keep what the
// dead-letter queue reports, reprocess entries, and drain parked records.
package deadletters
