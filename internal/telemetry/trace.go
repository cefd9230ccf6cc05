package telemetry

import "bytes"

// Trace returns the trace that a record belongs to, as a W3C traceparent: the last
// field of the head, which only the first record of a traced request has. It reads by
// position, as ParseFields does, and allocates nothing.
func (r Record) Trace() []byte {
	rest, text := r.Document[r.tenantAt:], []byte(nil)
	for _, key := range [...]string{keyTenant, keyRegion, keyID, keyType, keyTimestamp, keyTrace} {
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
	if escape := bytes.IndexByte(rest[:end], '\\'); escape >= 0 { // that quote may be escaped
		for end = escape; end < len(rest) && rest[end] != '"'; end++ {
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
