package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"millrace/internal/pack"
)

// format is the version of message bodies.
const format = 1

// body is a message of the fallback queue. It is JSON, so that a reader in a
// console sees what it is.
type body struct {
	Format   int    `json:"millrace"`
	Records  int    `json:"records"`
	Pack     []byte `json:"pack,omitempty"`     // see package pack; in base64
	Overflow string `json:"overflow,omitempty"` // key of the object that has the pack
}

func (b body) encode() (string, error) {
	b.Format = format
	text, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("encode a message: %w", err)
	}
	return string(text), nil
}

var errForeign = errors.New("not a message of this pipeline")

// decode reads a body. Its errors are free of what the message says.
func decode(text string) (body, error) {
	var b body
	if json.Unmarshal([]byte(text), &b) != nil {
		return body{}, errForeign
	}
	if b.Format != format || (len(b.Pack) == 0) == (b.Overflow == "") {
		return body{}, errForeign
	}
	return b, nil
}

// unpack returns the records of a pack that came with a message.
func (b body) unpack(blob []byte) ([][]byte, error) {
	records, err := pack.Unpack(blob)
	if err != nil {
		return nil, err
	}
	if len(records) != b.Records {
		return nil, fmt.Errorf("%w: %d records instead of %d", pack.ErrDamaged, len(records), b.Records)
	}
	return records, nil
}

// Message is a message that was received, and is held until its visibility
// timeout ends.
type Message struct {
	ID      string
	Records [][]byte
	// Damaged says why there are no records. It wraps ErrGone if they were in
	// an overflow object that was deleted.
	Damaged error
	// Body is the text of a damaged message, for who keeps it. An overflow
	// object that it points at stays where it is.
	Body string

	ReceiveCount int // this time included
	Sent         time.Time

	handle   string
	overflow string
}

// ErrGone says that a message points at an overflow object which is no longer
// there. It is deleted only behind its message, and that only when its records
// are safe: so either this is a second delivery of a message that is not there
// any more, too, or who wrote it has another bucket, or something else, as a
// lifecycle rule, has deleted the object, and its records are lost.
var ErrGone = errors.New("the overflow object is gone")

// ErrNotHeld says that a message is no longer held by who received it: its
// visibility timeout ended, or it was deleted.
var ErrNotHeld = errors.New("the message is not held any more")
