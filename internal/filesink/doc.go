// Package filesink writes documents to files of NDJSON: for tests, and for those who
// run no Elasticsearch.
//
// A document is one line of <directory>/<index>/<time>-<host>-<pid>-<number>.ndjson,
// in the form of a search hit, so that no member of a record can pose as its id:
//
//	{"_index":"telemetry-log-2026.11.29","_id":"…","_source":{"indexed_at":"…",…}}
//
// [Sink.Do] answers once the lines are on the disk. Delivery is at least once: what is
// sent again is written again, under the same _id, since no file is ever read.
//
// A process writes only to files that it has made. So a crash can tear nothing but the
// last line of a file, which then lacks its newline and is no JSON, and nothing follows it
// there. Each file begins with an empty line, so that nothing follows it in a reader that
// joins files, either.
package filesink
