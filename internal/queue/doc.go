// Package queue is the adapter for SQS: the fallback queue, which takes the
// records that the stream does not take at present, and the dead-letter queue,
// which reports records that will not be indexed.
//
// # The fallback queue
//
// Fallback.Send packs records into few messages; what does not fit into one
// goes to S3, with a pointer in the message. Like stream.Put it makes one
// attempt and returns the positions that were not taken. A receiver
// holds a message for its visibility timeout, extends that while it works,
// and deletes the message when its records are safe elsewhere. SQS may deliver
// a message more than once, and Send may store records whose answer was lost:
// both are resends, which change nothing further on.
//
// An overflow object is written before its message and deleted after it. What
// a failed Send or a lost Delete leaves behind is garbage once the message's
// retention is over: a lifecycle rule of more than 14 days may remove it.
//
// # The dead-letter queue
//
// A DeadLetter is a notification in the format of AWS Lambda's on-failure
// records for Kinesis, with one more key of ours. The ledger has the payload
// and the exact errors.
package queue
