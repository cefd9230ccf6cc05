// Package index writes documents to Elasticsearch or OpenSearch in bulk, and
// says of each one what became of it.
//
// [Client.Do] sends a sink.Bulk once: it never retries, since only the caller knows
// which documents are still worth sending. Whatever comes back is put in one of the
// classes of package outcome (outcome.go), and nothing counts as indexed unless
// Elasticsearch said so of that very document.
package index
