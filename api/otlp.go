package api

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"millrace/internal/telemetry"
)

// signal is a kind of OpenTelemetry data.
type signal struct {
	name    string // in metrics
	path    string // of OTLP/HTTP
	service string // of OTLP/gRPC
	request *jsonMessage
	// count says how many records there are in what take gets: a span, a log
	// record, or a metric with its points.
	count func(encoded []byte) int
	take  func(b *batch, encoded []byte, around surroundings)
	// partial encodes the answer to a request of which records were rejected.
	partial func(rejected int64, why string, asJSON bool) ([]byte, error)
}

var signals = []signal{traceSignal, logSignal, metricSignal}

// decode returns how a request of the signal is read.
func (s signal) decode(asJSON bool) func(*batch) error {
	return func(b *batch) error {
		request := b.request
		if asJSON {
			encoded, dropped, err := transcode(b.draft.encoded[:0], b.request, s.request, b.limits.RecordBytes)
			if b.draft.encoded = encoded; err != nil {
				return fmt.Errorf("not a request for %s: %w", s.path, err)
			}
			for _, name := range dropped {
				b.warn(name)
			}
			if b.held != nil && !b.held.reserve(int64(len(encoded))) {
				return errNoRoom
			}
			request = encoded
		}
		return b.walk(request, s.count, s.take)
	}
}

// warn notes something that OTLP has dropped, once.
func (b *batch) warn(what string) {
	if !slices.Contains(b.warnings, what) {
		b.warnings = append(b.warnings, what)
	}
}

// taken encodes the answer to a request that was taken, but for the records
// that were rejected. A message without fields says that all were taken.
func (s signal) taken(b *batch, asJSON bool) []byte {
	switch {
	case len(b.rejected) > 0 || b.leftOut > 0 || len(b.warnings) > 0:
		answer, err := s.partial(int64(len(b.rejected)+b.leftOut), b.summary(), asJSON)
		if err != nil { // cannot happen: the message was made here
			panic(fmt.Sprintf("encode an answer: %v", err))
		}
		return answer
	case asJSON:
		return []byte("{}")
	}
	return nil
}

// summary says which records were rejected or left out, and what should not be
// sent any longer.
func (b *batch) summary() string {
	var all []string
	if len(b.rejected) > 0 {
		all = append(all, summary(b.rejected))
	}
	if b.leftOut > 0 {
		all = append(all, fmt.Sprintf("the last %d records were left out, since %s", b.leftOut, b.whyLeftOut()))
	}
	if len(b.warnings) > 0 {
		all = append(all, "the request uses what OpenTelemetry has dropped: "+strings.Join(b.warnings, ", "))
	}
	return strings.Join(all, "; ")
}

// whyLeftOut says which limit the records that were left out are beyond.
func (b *batch) whyLeftOut() string {
	if b.full != nil {
		return b.full.Error()
	}
	return fmt.Sprintf("a request may have %d", b.limits.Records)
}

// summary names the first rejected records in a sentence, since the protocol
// has no list of them.
func summary(rejected []Rejection) string {
	const most = 10
	text := ""
	for i, r := range rejected {
		if i == most {
			return text + fmt.Sprintf("; and %d more", len(rejected)-most)
		}
		if i > 0 {
			text += "; "
		}
		text += r.String()
	}
	return text
}

// resourceOf writes what the records of a resource have in common.
func resourceOf(w *writer, r pcommon.Resource, schema string) fragment {
	w.begin()
	w.object("resource", func() {
		w.attributes("attributes", r.Attributes())
		w.some("dropped_attributes_count", r.DroppedAttributesCount())
		w.text("schema_url", schema)
	})
	return w.end()
}

// scopeOf writes what the records of an instrumentation library have in common.
func scopeOf(w *writer, s pcommon.InstrumentationScope, schema string) fragment {
	w.begin()
	w.object("scope", func() {
		w.text("name", s.Name())
		w.text("version", s.Version())
		w.attributes("attributes", s.Attributes())
		w.some("dropped_attributes_count", s.DroppedAttributesCount())
		w.text("schema_url", schema)
	})
	return w.end()
}

// document takes or rejects the record whose body was written.
func (b *batch) document(w *writer, id, recordType string, at pcommon.Timestamp) {
	when, kind := time.Time{}, timeMissing
	var original []byte
	if at != 0 {
		kind = timeOutOfBounds
		if at <= math.MaxInt64 {
			if when = at.AsTime(); telemetry.UsableTimestamp(when) {
				kind = b.usable(when)
			}
		}
		switch text := strconv.FormatUint(uint64(at), 10); kind {
		case timeUsable:
		case timeAhead:
			original = appendQuoted(nil, text)
		default:
			w.text(string(originalTimestamp), text)
		}
	}
	w.close('}')
	if !b.charge(len(w.dst) + recordOverhead) {
		return // and is left out
	}
	if w.depth > b.limits.Depth {
		b.reject(fmt.Sprintf("is nested %d deep, more than %d", w.depth, b.limits.Depth))
		return
	}
	b.add(id, recordType, when, kind, w.dst, original)
}
