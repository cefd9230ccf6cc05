// Package backup keeps the records of a stream as a chain of objects.
//
// An object holds one contiguous range of one shard, gzip NDJSON, a record a
// line, in the partition of the hour in which its records arrived; none spans
// two of them. Below Prefix in the bucket:
//
//	dt=2026-11-23/hour=13/<stream>-<created>-<shard>-<first sequence>.json.gz
//
// A line is the document as it stands in the stream, with the pointers needed
// to find it again in front: shard, sequence number and arrival; received_at
// is in the document's own head.
//
//	{"backup_shard":"…","backup_sequence":"…","backup_arrived":"…","doc_id":"…",…}
//
// The object's metadata (Meta) say where it ends. The key follows from the
// first record, so all writers of a shard that stand behind the same
// record write to the same key. One of them wins; the others adopt what it
// wrote and go on behind that.
package backup
