// Package activities is what workflows and workers agree on: a [Type] is the name of an
// activity with what it takes and returns. The activities are in the packages below,
// one for each family of workflows; each lists its types in types.go, and has one
// struct of what they need, whose methods they are.
//
//   - process indexes shards, and the ranges that a ProcessBatch holds;
//   - supervise starts the workflow of each shard;
//   - ingest puts the collector's batches into the stream, redrive what waits in SQS;
//   - backups copies shards to S3;
//   - deadletters keeps, reprocesses and drains what the ledger has;
//   - snapshots makes and expires snapshots, and enforces retention;
//   - recovery plans and does recoveries, replays and drills;
//   - canary posts records as an agent does, and looks whether they can be searched.
//
// What several of them need is in internal: indexing, deadletter, circuit, source,
// control, longcall.
package activities
