// Package telemetry holds what every part of Millrace shares: the stream
// record, the identity of a document, and the range that points at records.
// It imports nothing of ours.
//
// # The stream record
//
// One stream record is one JSON document on one line. Its head, written by the
// collector in this fixed order, is all that the rest of the pipeline reads:
//
//	{"doc_id":"…","index":"…","received_at":"…","tenant":"…","region":"…","id":"…","type":"…","@timestamp":"…", …body…}
//
// The processor cuts off doc_id and index, which become the bulk action, puts
// indexed_at in front of received_at, and passes everything from there on to
// Elasticsearch byte for byte. So a record is parsed once, in the collector,
// while Firehose, Athena and Spark still read it as plain JSON.
package telemetry
