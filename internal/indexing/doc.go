// Package indexing sends records to a sink until each has an outcome. The shards, the
// ranges of a ProcessBatch, recoveries and reprocessing all use it.
//
// A worker has one [Indexer], with the sink, the limiter and the cache of what is
// indexed. Each call begins a [Run] of it and hands over a [Chunk] of records at a
// time. Afterwards the chunk says of each record whether it is indexed, dead, parked,
// or open: of an open one the sink has not said enough.
//
// Three depths of trying are offered: [Run.Index] sends the chunk as it is, and smaller
// where that is too much; [Run.Bisect] looks closer at what was refused as a whole, at
// a bounded cost; [Run.Isolate] goes on until each record is alone.
package indexing
