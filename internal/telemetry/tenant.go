package telemetry

import (
	"bytes"
	"encoding/json"
)

// Tenant returns the tenant in the record's head; nothing where the head names
// none in its place. It reads by position, and of a plain name it allocates
// nothing.
func (r Record) Tenant() []byte {
	rest, found := bytes.CutPrefix(r.Document[r.tenantAt:], []byte(keyTenant+`"`))
	if !found {
		return nil
	}
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '"':
			return rest[:i]
		case '\\':
			return unquoted(rest)
		}
	}
	return nil
}

// Region returns the region in the record's head, as it stands there, and what stands behind it; nothing where
// the head names none behind its tenant. It allocates nothing.
func (r Record) Region() (region, behind []byte) {
	text, rest := cutString(r.Document[r.tenantAt:], keyTenant)
	if text == nil {
		return nil, nil
	}
	return cutString(rest, keyRegion)
}

// unquoted reads a JSON string, whose first quote is cut off, at the beginning of
// a text.
func unquoted(text []byte) []byte {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			var name string
			if json.Unmarshal(append([]byte{'"'}, text[:i+1]...), &name) != nil {
				return nil
			}
			return []byte(name)
		}
	}
	return nil
}
