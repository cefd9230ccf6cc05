package filesink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"millrace/internal/outcome"
	"millrace/internal/sink"
)

// operation is one document of a bulk.
type operation struct {
	sink.Reference
	document []byte // lent by the bulk
}

var errLines = errors.New("a bulk has not two lines for each document")

// operations reads the body of a bulk.
func operations(b *sink.Bulk) ([]operation, error) {
	body := b.Body()
	if bytes.Count(body, []byte("\n")) != 2*b.Len() || !bytes.HasSuffix(body, []byte("\n")) {
		return nil, errLines
	}
	all := make([]operation, b.Len())
	for n := range all {
		var line []byte
		line, body, _ = bytes.Cut(body, []byte("\n"))
		var action struct{ Create sink.Reference }
		if err := json.Unmarshal(line, &action); err != nil {
			return nil, fmt.Errorf("read the action of document %d: %w", n, err)
		}
		all[n].Reference = action.Create
		all[n].document, body, _ = bytes.Cut(body, []byte("\n"))
	}
	return all, nil
}

// check returns why no sink of this kind will ever take a document; nil if it will.
func (o operation) check() *outcome.Error {
	if !isIndexName(o.Index) {
		return &outcome.Error{Type: invalidIndexName, Reason: fmt.Sprintf("%q cannot name a directory here", o.Index)}
	}
	if !json.Valid(o.document) {
		return &outcome.Error{Type: notJSON, Reason: "the document is not valid JSON"}
	}
	return nil
}

// longestName is what most file systems take, in bytes (NAME_MAX).
const longestName = 255

// isIndexName reports whether an index can be a directory. The index stands in the
// record, which anyone who reaches the stream may have written, so that it must not
// lead elsewhere. A leading dot would hide it, and ".." is one, too.
func isIndexName(name string) bool {
	if name == "" || len(name) > longestName || name[0] == '.' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// appendLine appends the line of a document.
func (o operation) appendLine(to []byte) ([]byte, error) {
	head, err := json.Marshal(o.Reference)
	if err != nil {
		return to, fmt.Errorf("encode the reference of a document: %w", err)
	}
	to = append(to, head[:len(head)-1]...)
	to = append(to, `,"_source":`...)
	to = append(to, o.document...)
	return append(to, "}\n"...), nil
}
