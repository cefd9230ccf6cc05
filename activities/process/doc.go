// Package process has the activities that index shards, and the ranges that a
// ProcessBatch holds.
//
// IndexShard (index_shard.go) is where records spend their time: pipeline.go moves
// them, lane.go keeps one tenant's flood from delaying the others, internal/indexing
// takes each to its outcome, mark.go says how far the shard is.
package process
