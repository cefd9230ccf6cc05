package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Conditions of a dead letter, as AWS Lambda says them.
const (
	RetriesExhausted = "RetryAttemptsExhausted"
	RecordTooOld     = "RecordAgeExceeded" // trimmed from the stream
)

// DeadLetter is the notification that records will not be indexed: what AWS
// Lambda sends to an on-failure destination of a Kinesis event source
// (developer guide, 'Retain discarded batch records'), with Millrace added.
type DeadLetter struct {
	RequestContext  RequestContext  `json:"requestContext"`
	ResponseContext ResponseContext `json:"responseContext"`
	Version         string          `json:"version"`
	Timestamp       Time            `json:"timestamp"`
	// Batch is nil for records that never were in the stream.
	Batch *KinesisBatchInfo `json:"KinesisBatchInfo,omitempty"`
	// Millrace is nil in messages that Lambda sent.
	Millrace *DeadRecords `json:"millrace,omitempty"`
}

// RequestContext says whose attempts failed.
type RequestContext struct {
	RequestID              string `json:"requestId"` // the same in all letters about one ledger entry
	FunctionARN            string `json:"functionArn"`
	Condition              string `json:"condition"`
	ApproximateInvokeCount int    `json:"approximateInvokeCount"`
}

// ResponseContext says how the last attempt ended.
type ResponseContext struct {
	StatusCode      int    `json:"statusCode"`
	ExecutedVersion string `json:"executedVersion"`
	FunctionError   string `json:"functionError"`
}

// KinesisBatchInfo points at the records.
type KinesisBatchInfo struct {
	ShardID      string `json:"shardId"`
	First        string `json:"startSequenceNumber"`
	Last         string `json:"endSequenceNumber"`
	FirstArrival Time   `json:"approximateArrivalOfFirstRecord,omitzero"`
	LastArrival  Time   `json:"approximateArrivalOfLastRecord,omitzero"`
	Size         int    `json:"batchSize"`
	StreamARN    string `json:"streamArn"`
}

// Time is a time in the form that Lambda writes: UTC with milliseconds, always
// three digits of them.
type Time struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(t.UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

// DeadRecords is what Millrace adds: where the ledger has all of it, and which
// records it is about.
type DeadRecords struct {
	Ledger  string       `json:"ledger"` // key of the entry, which may have several letters
	Records []DeadRecord `json:"records"`
	// Omitted is how many records are not named: of a sparse entry those beyond
	// the first ones, or all, since they would not fit into a message.
	Omitted int `json:"omitted,omitempty"`
	// First and Last are the positions of the first and the last record, where
	// they stood in containers, which sequence numbers alone name as a whole.
	First string `json:"first,omitempty"`
	Last  string `json:"last,omitempty"`
	// Sparse: between the first and the last record lie others that are not
	// dead. Only the ledger says which are.
	Sparse bool `json:"sparse,omitempty"`
}

// DeadRecord is one record, without its body.
type DeadRecord struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Tenant string `json:"tenant,omitempty"`
	Error  Reason `json:"error"`
}

// Reason is why a record will not be indexed, free of its content.
type Reason struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

// ErrNotDeadLetter says that a message names no records of a Kinesis
// stream.
var ErrNotDeadLetter = errors.New("not a dead letter")

// ParseDeadLetter reads a letter of ours or Lambda's, in which members may be
// null or unknown. The error wraps ErrNotDeadLetter and shows nothing of the
// message.
func ParseDeadLetter(text []byte) (DeadLetter, error) {
	var l DeadLetter
	if err := json.Unmarshal(text, &l); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return DeadLetter{}, fmt.Errorf("%w: %s is of another type", ErrNotDeadLetter, wrong.Field)
		}
		return DeadLetter{}, fmt.Errorf("%w: it is not what it says in JSON", ErrNotDeadLetter)
	}
	if b := l.Batch; b != nil && b.ShardID != "" && b.First != "" && b.Last != "" && b.StreamARN != "" {
		return l, nil
	}
	if l.Millrace != nil && l.Millrace.Ledger != "" {
		return l, nil
	}
	return DeadLetter{}, fmt.Errorf("%w: it points at no records", ErrNotDeadLetter)
}

// DeadLetters is the dead-letter queue. It is safe for concurrent use.
type DeadLetters struct {
	*queue
}

// NewDeadLetters returns the queue of that name, which is looked for when it is
// first used. Until it is found, everything fails as in an outage.
func NewDeadLetters(client *sqs.Client, name string) *DeadLetters {
	return &DeadLetters{named(client, name)}
}

// OpenDeadLetters finds the queue of that name. The error wraps SQS's
// QueueDoesNotExist where there is none.
func OpenDeadLetters(ctx context.Context, client *sqs.Client, name string) (*DeadLetters, error) {
	q, err := open(ctx, client, name)
	if err != nil {
		return nil, err
	}
	return &DeadLetters{q}, nil
}

// Name returns the queue's name.
func (d *DeadLetters) Name() string { return d.name }

// Fits reports whether a letter fits into a message.
func (d *DeadLetters) Fits(l DeadLetter) bool {
	text, err := l.text()
	return err == nil && len(text) <= int(d.limit.Load())
}

// Send makes one attempt to send every letter, one that does not fit without
// its records. It returns the positions of those that were not taken, in order,
// with the reason of the first. A letter whose answer was lost may have been
// taken all the same.
func (d *DeadLetters) Send(ctx context.Context, letters []DeadLetter) (untaken []int, err error) {
	bodies := make([]string, 0, len(letters))
	for _, l := range letters {
		text, err := l.encode(int(d.limit.Load()))
		if err != nil {
			return upTo(len(letters)), err
		}
		bodies = append(bodies, text)
	}
	for at, refused := range d.send(ctx, bodies) {
		countLetter(refused)
		if refused == nil {
			continue
		}
		if untaken = append(untaken, at); err == nil {
			err = refused
		}
	}
	if err != nil {
		return untaken, fmt.Errorf("send %d of %d dead letters to queue %s: %w", len(untaken), len(letters), d.name, err)
	}
	return nil, nil
}

// upTo is all positions below n.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// encode writes a letter within a limit in bytes, without its records if it
// would be longer.
func (l DeadLetter) encode(limit int) (string, error) {
	text, err := l.text()
	if err != nil {
		return "", err
	}
	if m := l.Millrace; len(text) > limit && m != nil && len(m.Records) > 0 {
		l.Millrace = &DeadRecords{Ledger: m.Ledger, Records: []DeadRecord{}, Omitted: m.Omitted + len(m.Records), Sparse: m.Sparse}
		return l.encode(limit)
	}
	return text, nil
}

// text is the letter as JSON in ASCII.
func (l DeadLetter) text() (string, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return "", fmt.Errorf("encode a dead letter: %w", err)
	}
	return ascii(text), nil
}

// ascii writes every other character of a JSON text as an escape of JSON's,
// which a parser reads as the same character. SQS refuses a message
// with a character outside of #x9, #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD
// and #x10000 to #x10FFFF (API reference, SendMessage), and an id may have one.
func ascii(text []byte) string {
	if !slices.ContainsFunc(text, func(b byte) bool { return b >= utf8.RuneSelf }) {
		return string(text)
	}
	escaped := make([]byte, 0, len(text)+len(text)/2)
	for _, r := range string(text) { // json.Marshal lets no invalid UTF-8 through
		if r < utf8.RuneSelf {
			escaped = append(escaped, byte(r))
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			escaped = fmt.Appendf(escaped, `\u%04x`, unit)
		}
	}
	return string(escaped)
}
