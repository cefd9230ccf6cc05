// Package deadletter gives up records for good: [Writer] writes them to the ledger, with
// payload and exact error, and then sends letters about them to the dead-letter queue in
// the format of AWS Lambda's on-failure destination. The ledger is the truth: no refusal
// or outage of the queue holds up the pipeline, and a [Teller] sends later what the queue
// did not take. [Open] says which records are dead letters already.
package deadletter
