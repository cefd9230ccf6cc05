// Package intake takes records to the first place where they are durable: the
// stream; the fallback queue for what the stream does not take; the ledger for
// what it will never take.
//
// IngestBatch does so from a workflow, and the collector without one while
// Temporal is away.
package intake
