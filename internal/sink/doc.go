// Package sink is the contract between the pipeline and where it writes documents.
//
// A [Bulk] is built from stream records without parsing them again. An adapter, such
// as internal/index for Elasticsearch or internal/filesink, sends it once and reports a [Result]: one
// outcome.Class for the request, and one for each document that was not simply
// created. It never retries, since only the caller knows which documents are still
// worth sending.
package sink
