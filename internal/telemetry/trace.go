package telemetry

import "bytes"

// Trace returns the trace that a record belongs to, as a W3C traceparent: the last
// field of the head, which only the first record of a traced request has. It reads by
// position, as ParseFields does, and allocates nothing.
func (r Record) Trace() []byte {
	_, behind := r.Region()
	return TraceBehind(behind)
}

// TraceBehind is Trace for who has read the region already: it takes what stands behind that.
func TraceBehind(region []byte) []byte {
	rest, text := region, []byte(nil)
	for _, key := range [...]string{keyID, keyType, keyTimestamp, keyTrace} {
		if text, rest = cutString(rest, key); text == nil {
			return nil
		}
	}
	return text
}

// cutString cuts a key and its string, which it returns without quotes and with
// its escapes, from the beginning of rest; nil without them.
func cutString(rest []byte, key string) (text, after []byte) {
	rest, ok := bytes.CutPrefix(rest, []byte(key))
	if !ok || len(rest) == 0 || rest[0] != '"' {
		return nil, nil
	}
	rest = rest[1:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil, nil
	}
	if end > 0 && rest[end-1] == '\\' { // that quote may be escaped
		for end = 0; end < len(rest) && rest[end] != '"'; end++ {
			if rest[end] == '\\' {
				end++
			}
		}
		if end >= len(rest) {
			return nil, nil
		}
	}
	return rest[:end], rest[end+1:]
}
