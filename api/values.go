package api

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/internal/telemetry"
)

// textOf returns the text of a string, or of a number where that will do;
// nothing for null.
func textOf(value []byte, most int, number bool) (text []byte, problem string) {
	switch c := value[0]; {
	case c == '"':
		text = unquote(value[1 : len(value)-1])
	case c == 'n':
		return nil, ""
	case number && (c == '-' || c >= '0' && c <= '9'):
		text = value
	case number:
		return nil, "is neither a string nor a number"
	default:
		return nil, "is not a string"
	}
	if len(text) > most && utf8.RuneCount(text) > most {
		return nil, fmt.Sprintf("is longer than %d characters", most)
	}
	return text, ""
}

// lowerTypes spares common types an allocation.
var lowerTypes = func() map[string]string {
	m := make(map[string]string)
	for _, t := range telemetry.Types {
		m[t] = t
		m[strings.ToUpper(t[:1])+t[1:]] = t
	}
	return m
}()

func lower(recordType []byte) string {
	if known, ok := lowerTypes[string(recordType)]; ok {
		return known
	}
	return strings.ToLower(string(recordType))
}

// timeOf reads a JSON value as a record's own time: an RFC 3339 string, or a
// number of milliseconds since 1970, which may stand in quotes.
func timeOf(value []byte) (time.Time, timeKind) {
	if value == nil {
		return time.Time{}, timeMissing
	}
	text := value
	if value[0] == '"' {
		text = unquote(value[1 : len(value)-1])
	}
	var at time.Time
	if isNumber(text) {
		ns, fits := nanoseconds(text)
		if !fits {
			return time.Time{}, timeOutOfBounds
		}
		at = time.Unix(0, ns)
	} else {
		var ok bool
		if at, ok = parseTime(text); !ok {
			return time.Time{}, timeUnreadable
		}
	}
	if !telemetry.UsableTimestamp(at) {
		return time.Time{}, timeOutOfBounds
	}
	return at, timeUsable
}

// parseTime reads RFC 3339 as it may be written, with lower case and a space for
// the T (5.6), and offsets without a colon, which are ISO 8601's.
func parseTime(text []byte) (time.Time, bool) {
	const separator = len("2006-01-02")
	if last := len(text) - 1; last > separator && (text[separator] != 'T' || text[last] == 'z') {
		text = bytes.Clone(text)
		if text[separator] == 't' || text[separator] == ' ' {
			text[separator] = 'T'
		}
		if text[last] == 'z' {
			text[last] = 'Z'
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if at, err := time.Parse(layout, string(text)); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// appendTime appends a time as a JSON string.
func appendTime(dst []byte, at time.Time) []byte {
	dst = append(dst, '"')
	dst = at.UTC().AppendFormat(dst, telemetry.TimestampLayout)
	return append(dst, '"')
}
