package telemetry

import "bytes"

// TraceOf returns the trace that a stream record belongs to, as a W3C traceparent:
// the last field of the head, which only the first record of a traced request has.
// It reads by position, as ParseFields does, and allocates nothing.
func TraceOf(data []byte) []byte {
	r, err := Parse(data)
	if err != nil {
		return nil
	}
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
	for end := 1; end < len(rest); end++ {
		switch rest[end] {
		case '\\':
			end++
		case '"':
			return rest[1:end], rest[end+1:]
		}
	}
	return nil, nil
}
