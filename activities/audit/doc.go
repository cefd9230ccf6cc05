// Package audit proves conservation of a running pipeline by the residual: the ids in
// backup objects before the processing checkpoint that are, after a grace, in neither the
// index nor the ledger nor an open ProcessBatch. Counts cannot prove it: a record that is
// lost and one that is replayed leave the same sum.
//
//	choose.go   which objects: a sample, or all
//	check.go    where each of their records is
//	settle.go   the second look at those that are nowhere
//
// A record moves from its ProcessBatch to the ledger, and from there to the index. So the
// second look asks in this order, and meets a record that moves meanwhile in the later
// place.
package audit
