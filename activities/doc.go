// Package activities does the work that workflows order. Each workflow family
// has one struct of what its activities need; the methods are the activities.
//
// IndexShard (index_shard.go) is where records spend their time: pipeline.go
// moves them, lane.go keeps one tenant's flood from holding up the others, chunk.go
// and settle.go take each to its outcome, mark.go says how far the shard is.
package activities
