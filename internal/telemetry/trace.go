package telemetry

import "bytes"

// Trace returns the trace that a record belongs to, as a W3C traceparent: the last
// field of the head, which only the first record of a traced request has. It reads by
// position, as ParseFields does, and allocates nothing.
func (r Record) Trace() []byte {
	_, _, behind := r.origin()
	return TraceBehind(behind)
}

// TraceBehind is Trace for who has read the region already: it takes what stands behind that. Each record is asked where
// anything is traced, and hardly one has a trace: the keys are constants here, which are compared in words.
func TraceBehind(region []byte) []byte {
	const id, kind, timestamp = keyID + `"`, keyType + `"`, keyTimestamp + `"`
	rest := region
	if len(rest) < len(id) || string(rest[:len(id)]) != id {
		return nil
	}
	if rest = behindString(rest[len(id):]); len(rest) < len(kind) || string(rest[:len(kind)]) != kind {
		return nil
	}
	if rest = behindString(rest[len(kind):]); len(rest) < len(timestamp) || string(rest[:len(timestamp)]) != timestamp {
		return nil
	}
	text, _ := cutString(behindString(rest[len(timestamp):]), keyTrace)
	return text
}

// cutString cuts a key and its string, which it returns without quotes and with
// its escapes, from the beginning of rest; nil without them.
func cutString(rest []byte, key string) (text, after []byte) {
	if len(rest) <= len(key) || string(rest[:len(key)]) != key || rest[len(key)] != '"' {
		return nil, nil
	}
	return untilQuote(rest[len(key)+1:])
}

// untilQuote returns a string, of which the first quote is cut off, as cutString does, and what stands behind it.
func untilQuote(rest []byte) (text, after []byte) {
	if after = behindString(rest); after == nil {
		return nil, nil
	}
	return rest[:len(rest)-len(after)-1], after
}

// behindString returns what stands behind a string, of which the first quote is cut off; nil where it has no end.
func behindString(rest []byte) []byte {
	end := bytes.IndexByte(rest, '"')
	if end > 0 && rest[end-1] == '\\' { // that quote may be escaped
		for end = 0; end < len(rest) && rest[end] != '"'; end++ {
			if rest[end] == '\\' {
				end++
			}
		}
	}
	if end < 0 || end >= len(rest) {
		return nil
	}
	return rest[end+1:]
}
