// Package ledger keeps the truth about everything that did not go the straight
// way: records that no index takes, records that the stream will never take,
// and ranges that the stream has lost.
//
// An entry is one JSON object in S3, written once, under a key that follows
// from what it is about:
//
//	ledger/open/<stream>/<shard>/<first>-<last>.<stream's creation>.json       records of a range
//	ledger/open/<stream>/<shard>/many-<first>-<last>.<stream's creation>.<hash of their numbers>.json  records between which there are others
//	ledger/open/<stream>/<shard>/parked-<first>-<last>.<stream's creation>.<hash of their numbers>.<index>.json  records that wait for their index
//	ledger/open/<stream>/<shard>/loss-<first>-<last>.<stream's creation>.json  a range without its records
//	ledger/open/<stream>/<shard>/copy-<first>-<last>.<stream's creation>.<run>.json  records that a ProcessBatch still holds
//	ledger/open/<stream>/ingest/<batch>-<position>-<hash of them>.json         records that have no sequence number
//
// Beside them stands, for as long as the dead-letter queue does not know of an
// entry:
//
//	untold/<stream>/<shard>/<file>
//
// and, of all that are there, the index by which Find finds the entries of a record
// (package lookup):
//
//	ledger-index/
//
// So a second write about the same records finds that it is done.
// Resolving an entry moves it from open/ to done/. Until then Update may say in
// it how its records do.
package ledger
