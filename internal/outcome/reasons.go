package outcome

// Types of error that Millrace itself gives to a dead letter. Every other type is the
// sink's, such as the exact one of Elasticsearch: see its own table. Operators
// select by them (starter dlq --error-type), and the ledger keeps them for good, so
// none may change its text.
const (
	// TypeForeign is of a record that no collector wrote.
	TypeForeign = "foreign_record"
	// TypeDamagedContainer is of a record of the stream that begins as a container of
	// documents does, and is none, or one that is too large.
	TypeDamagedContainer = "damaged_container"
	// TypePanic is of records whose indexing panicked: a fault of ours.
	TypePanic = "panic"
	// TypeTrimmed is of records that left the stream before a ProcessBatch, or a
	// dead letter, could fetch them.
	TypeTrimmed = "trimmed"
	// TypePossibleLoss is of a range that may have been trimmed before it was read.
	TypePossibleLoss = "possible_loss"
	// TypeMissingInBackup is of a range that may have been trimmed before it was
	// backed up.
	TypeMissingInBackup = "missing_in_backup"
	// TypeFailureStore is of a document that Elasticsearch put into a failure store
	// instead of its index.
	TypeFailureStore = "failure_store"

	// TypeCanceled is of records whose IngestBatch or ProcessBatch an operator
	// canceled.
	TypeCanceled = "canceled"
	// TypeSkipped is of records that an operator skipped in a ProcessBatch.
	TypeSkipped = "skipped"

	// TypeForeignPut and TypeTooLargePut are of records that can never be put into
	// the stream: no collector wrote them, or they exceed telemetry.MaxRecordSize.
	TypeForeignPut  = "Foreign"
	TypeTooLargePut = "TooLarge"
	// TypeDamagedMessage is of a message in SQS that cannot be decoded, and
	// TypeMissingOverflow of one whose records in S3 are gone.
	TypeDamagedMessage  = "damaged_message"
	TypeMissingOverflow = "missing_overflow"

	// TypeUnsettled is of an entry whose records were put into the stream again and
	// neither indexed nor refused since.
	TypeUnsettled = "unsettled"
	// TypeUnrecoverable is of an entry whose records neither the ledger nor the
	// stream has.
	TypeUnrecoverable = "unrecoverable"
	// TypeDeadLetter is of a letter of AWS Lambda's event source whose records the
	// stream has no longer; see KeepDeadLetters.
	TypeDeadLetter = "dead_letter"
)
