// Package circuit keeps one tenant's bad records, or a bad deployment, from filling the
// ledger: it judges the tenants of a shard by what became of their last records.
package circuit
