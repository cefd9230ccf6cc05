// Package requestid makes and reads the ids under which collectors answer requests.
// An id holds all that is needed to ask later what became of the request's records:
// when it came, to which collector, and in which batches they went on.
package requestid

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ID names a request.
type ID struct {
	At        time.Time // when it came, to the millisecond
	Collector string    // a process: 8 hexadecimal digits
	Number    uint64    // of the request there
	Batches   []Batch   // that have its records, and records of other requests; none of what was refused
	More      bool      // there are others, beyond MostBatches
}

// Batch is a batch of a collector.
type Batch struct {
	UUID uuid.UUID
	// Direct: it went straight into stream, queue or ledger. Else an IngestBatch
	// workflow has it.
	Direct bool
}

// MostBatches bounds the batches in an id, of 33 or 34 characters each: it stands in a
// header. A request of 10,000 records has 20 batches of the default size.
const MostBatches = 20

const (
	layout = "20060102T150405.000Z"
	direct = "d" // behind a batch
	more   = "-more"
)

// String returns the text form, of letters, digits, dots and dashes.
func (id ID) String() string {
	var text strings.Builder
	text.WriteString(id.At.UTC().Format(layout))
	text.WriteByte('-')
	text.WriteString(id.Collector)
	text.WriteByte('-')
	text.WriteString(strconv.FormatUint(id.Number, 10))
	for _, b := range id.Batches[:min(len(id.Batches), MostBatches)] {
		text.WriteByte('-')
		text.WriteString(hex.EncodeToString(b.UUID[:]))
		if b.Direct {
			text.WriteString(direct)
		}
	}
	if id.More || len(id.Batches) > MostBatches {
		text.WriteString(more)
	}
	return text.String()
}

// LogValue implements slog.LogValuer: an id is made into text only if it is logged.
func (id ID) LogValue() slog.Value { return slog.StringValue(id.String()) }

var form = regexp.MustCompile(`^(\d{8}T\d{6}\.\d{3}Z)-([0-9a-f]{8})-(\d{1,20})((?:-[0-9a-f]{32}d?)*)(-more)?$`)

var errForm = errors.New("it is no id from the header X-Request-Id of a collector's answer")

// Parse reads the text form.
func Parse(text string) (ID, error) {
	parts := form.FindStringSubmatch(text)
	if parts == nil {
		return ID{}, errForm
	}
	at, errTime := time.Parse(layout, parts[1])
	number, errNumber := strconv.ParseUint(parts[3], 10, 64)
	if err := errors.Join(errTime, errNumber); err != nil {
		return ID{}, fmt.Errorf("%w: %w", errForm, err)
	}
	id := ID{At: at, Collector: parts[2], Number: number, More: parts[5] != ""}
	for _, batch := range strings.Split(parts[4], "-")[1:] {
		const digits = 2 * len(uuid.UUID{}) // the last of which may be a d, too
		parsed, err := uuid.Parse(batch[:digits])
		if err != nil {
			return ID{}, fmt.Errorf("%w: %w", errForm, err)
		}
		id.Batches = append(id.Batches, Batch{parsed, len(batch) > digits})
	}
	if len(id.Batches) > MostBatches {
		return ID{}, fmt.Errorf("%w: it has more than %d batches", errForm, MostBatches)
	}
	return id, nil
}
