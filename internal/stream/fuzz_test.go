package stream

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"unicode/utf8"
)

// An answer that is read, and is JSON, says the same to encoding/json; and what
// was read of it is read the same again when it is written anew.
func FuzzDecode(f *testing.F) {
	f.Add(pageText(2))
	f.Fuzz(func(t *testing.T, text []byte) {
		w := &workspace{}
		a, err := w.decode(text)
		if err != nil {
			return
		}
		if json.Valid(text) {
			// Exact keys: encoding/json would take others for them too.
			var members map[string]json.RawMessage
			if err := json.Unmarshal(text, &members); err != nil {
				t.Fatalf("read what is no object: %v: %s", err, text)
			}
			var records []map[string]json.RawMessage
			if all, has := members["Records"]; has && (json.Unmarshal(all, &records) != nil || len(records) != len(a.records)) {
				t.Fatalf("%d records of %s", len(a.records), all)
			}
			for i, record := range records {
				var sequence *string
				if all, has := record["SequenceNumber"]; has && utf8.Valid(all) &&
					(json.Unmarshal(all, &sequence) != nil || sequence != nil && *sequence != a.records[i].Sequence) {
					t.Fatalf("%q is read of %s", a.records[i].Sequence, all)
				}
			}
		}
		var again bytes.Buffer
		again.WriteString(`{"Records":[`)
		for i, r := range a.records {
			if i > 0 {
				again.WriteByte(',')
			}
			if !utf8.ValidString(r.Sequence) {
				return
			}
			sequence, _ := json.Marshal(r.Sequence) // of a string: cannot fail
			fmt.Fprintf(&again, `{"SequenceNumber":%s,"Data":"%s"}`, sequence, base64.StdEncoding.EncodeToString(r.Data))
		}
		again.WriteString(`]}`)
		b, err := new(workspace).decode(again.Bytes())
		if err != nil || !slices.EqualFunc(a.records, b.records, func(x, y Record) bool { return x.Sequence == y.Sequence && bytes.Equal(x.Data, y.Data) }) {
			t.Fatalf("%s is read otherwise, %v", again.Bytes(), err)
		}
	})
}
