package telemetry

import "encoding/json"

// Fields are the head's fields that people search for. Reading them costs
// more than Parse, so only the paths off the straight one do.
type Fields struct {
	DocID  string
	Index  string
	Tenant string
	Region string
	ID     string
	Type   string
}

// ParseFields reads the head of a stream record by position, never by name: a
// body may have members of any name, and a tenant must not write another one's
// over its own. A record that no collector wrote gives empty fields.
func ParseFields(data []byte) Fields {
	r, err := Parse(data)
	if err != nil {
		return Fields{}
	}
	f := Fields{DocID: string(r.DocIDText), Index: string(r.Index)}
	rest := r.Document[r.tenantAt:]
	for _, field := range []struct {
		key  string
		into *string
	}{{keyTenant, &f.Tenant}, {keyRegion, &f.Region}, {keyID, &f.ID}, {keyType, &f.Type}} {
		var ok bool
		if rest, ok = headString(rest, field.key, field.into); !ok {
			return Fields{}
		}
	}
	return f
}

// headString reads a key and its string from the beginning of rest.
func headString(rest []byte, key string, into *string) (after []byte, ok bool) {
	text, after := cutString(rest, key)
	if text == nil {
		return nil, false
	}
	quoted := rest[len(key) : len(key)+len(text)+len(`""`)]
	return after, json.Unmarshal(quoted, into) == nil
}
