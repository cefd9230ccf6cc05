// Package backup keeps the records of a stream as a chain of objects.
//
// An object holds one contiguous range of one shard, gzip NDJSON, a record a
// line, in partitions by the arrival of its first record:
//
//	dt=2026-11-23/hour=13/<stream>-<created>-<shard>-<first sequence>.json.gz
//
// Its metadata say where it ends. Whoever knows the first record knows the key,
// so all writers of a shard that stand behind the same record write to the same
// key. One of them wins; the others adopt what it wrote and go on behind that.
package backup
