// Package container takes the documents out of a record of the stream, and puts them in.
//
// A record of the stream has one of three forms, known by its first bytes:
//
//   - single: one document, a JSON object;
//   - KPL: an aggregated record of Amazon's Kinesis Producer Library: a magic number, a protobuf message, and its MD5
//     (https://github.com/awslabs/amazon-kinesis-producer, aggregation-format.md). Firehose and the KCL take it apart, too;
//   - pack: a zstd frame of documents, one a line, with its size and a checksum. Anyone can read it with zstd -d.
//
// Forms exist only between who puts records and who reads them: all others know documents. A document's position is the
// sequence number of its record and its place in it, see telemetry.Position.
package container
