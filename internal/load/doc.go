// Package load makes telemetry and posts it to a collector as an agent would:
// many connections, a steady rate or as fast as it goes, retries when the
// collector says so or the connection breaks, and by choice duplicates and
// records that the index must refuse.
//
// The sender must know from its own answers what was accepted, or nothing can be
// proved about the rest of the pipeline. So every record is a function of its
// number: id, type, timestamp, body, whether it is bad. What is kept of a
// record is one bit, set when a post that held it was answered 2xx, and ten
// million records take 1.25 MB.
package load
