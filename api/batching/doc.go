// Package batching makes what agents post durable before they are answered. It
// groups the records of concurrent requests into batches and starts an
// IngestBatch workflow for each: that start is the durable moment. When
// Temporal is away, or by setting, it takes the direct way: stream, queue,
// ledger.
package batching
