// Package simulation plays a pipeline of many shards, event by event, on paper: what no machine here is large enough for.
//
// Shards fill at a steady rate. Workers read each within its budget, and send bulks, as many at once as their limits allow. A
// bulk takes processor time of its worker, then of the cluster, and a while beside that. Heartbeats save how far a shard is; a
// worker that is killed is missed after its last one, and others begin where it stood. Times and limits are those of the
// packages that the pipeline is made of; costs are measured (see bench, part simulation).
//
// It leaves out what it has no measure for: garbage collection, networks that lose packets, indices that move.
package simulation
