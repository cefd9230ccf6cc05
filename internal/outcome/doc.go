// Package outcome says what became of a record: the class of an answer, which decides
// what happens next; its error, as the ledger keeps it and as logs may show it; and
// the types of error that Millrace itself gives to dead letters.
//
// Which answer belongs to which class is the sink's to say: of Elasticsearch in
// internal/index/outcome.go.
package outcome
