// Package stream is the adapter for Kinesis Data Streams: it puts records,
// lists shards, and reads a shard from a checkpoint.
//
// # Putting
//
// Stream.Put makes one attempt for every record and tells which positions the
// stream did not take, so that the caller decides what comes next: try again,
// or the fallback queue. A position is rejected either for now (throttled,
// unavailable) or for ever (Invalid). A lost answer counts as a rejection, so
// a record may be in the stream twice; its DocID makes that harmless.
//
// # Reading
//
// Stream.Reader reads one shard, a page at a time, and hides what is Kinesis's
// own affair: iterators and their expiry, throttling, the quotas of a shard,
// enhanced fan-out. It resumes AT the record of its checkpoint, skips that,
// and reports a Loss where records may have been trimmed in between.
//
// A process opens a stream once and shares it: the budget of a shard (5 calls
// and 2 MiB a second, which AWS grants to all its readers together) is kept
// there.
package stream
