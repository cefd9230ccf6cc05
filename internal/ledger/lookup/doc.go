// Package lookup finds the ledger entries of a record without reading the
// ledger: an index in S3 from the hash of a name to the places that may have it.
//
// Everything in it is a segment: rows of (hash, place), sorted by hash, in blocks
// behind which stands where each begins, so that a look-up reads two or three
// ranges of one. Note writes a segment for each entry; Merge makes larger ones of
// those, and of these still larger ones:
//
//	ledger-index/new/<time>-<hash of the content>       one entry
//	ledger-index/segments/<hash of the content>-<size>  many
//	ledger-index/complete                               the index knows the whole ledger
//
// A segment never changes, and a row only points: to have one twice, or one whose
// entry is gone, does no harm. So several processes may write, merge and rebuild
// at the same time, and Rebuild makes lost segments again from the ledger.
package lookup
