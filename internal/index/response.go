package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"millrace/internal/outcome"
	"millrace/internal/sink"
)

// answer is what a response says of one document.
type answer struct {
	Create *struct {
		Status       int            `json:"status"`
		FailureStore string         `json:"failure_store"`
		Error        *outcome.Error `json:"error"`
	} `json:"create"`
}

// item judges an answer. ok is false when it answers something else.
func (a answer) item(position int) (item sink.Item, ok bool) {
	if a.Create == nil {
		return sink.Item{}, false
	}
	item = sink.Item{Position: position}
	if a.Create.Error != nil {
		item.Error = *a.Create.Error
	}
	item.Error.Status = a.Create.Status
	item.Class = classify(item.Error, a.Create.FailureStore)
	item.IndexAlone = indexAlone(item.Error)
	if item.Class == outcome.Indexed && item.Error.Status == http.StatusConflict {
		item = duplicate(position)
	}
	if item.Error.Type == "" && item.Class == outcome.Poison {
		item.Error.Type = outcome.TypeFailureStore
		item.Error.Reason = "the document was redirected to the failure store"
	}
	return item, true
}

// duplicate is a document that was there. Its reason is not needed.
func duplicate(position int) sink.Item {
	return sink.Item{Position: position, Class: outcome.Indexed, Duplicate: true, Error: outcome.Error{Type: conflict, Status: http.StatusConflict}}
}

func simplyCreated(i sink.Item) bool { return i.Class == outcome.Indexed && !i.Duplicate }

// readItems returns the documents that were not simply created. An error means
// that the response does not speak of every document, and so of none.
func readItems(response []byte, n int) ([]sink.Item, error) {
	if items, ok := scanItems(response, n); ok {
		return items, nil
	}
	return decodeItems(response, n)
}

// What a filtered response looks like, byte for byte. Nearly every document is
// created, or was, so that is compared and not parsed.
var (
	allFine  = []byte(`{"errors":false,"items":[`)
	someNot  = []byte(`{"errors":true,"items":[`)
	created  = []byte(`{"create":{"status":201}}`)
	exists   = []byte(`{"create":{"status":409,"error":{"type":"` + conflict + `","reason":"`)
	endExist = []byte(`"}}}`)
	endItems = []byte(`]}`)
)

// scanItems reads a response that looks as expected, and of another one says
// so. It parses only the items that are neither created nor duplicates.
func scanItems(response []byte, n int) (items []sink.Item, ok bool) {
	rest, ok := bytes.CutPrefix(response, allFine)
	if !ok {
		if rest, ok = bytes.CutPrefix(response, someNot); !ok {
			return nil, false
		}
	}
	for position := range n {
		if position > 0 {
			if len(rest) == 0 || rest[0] != ',' {
				return nil, false
			}
			rest = rest[1:]
		}
		if bytes.HasPrefix(rest, created) {
			rest = rest[len(created):]
			continue
		}
		if length := existsLength(rest); length > 0 {
			items = append(items, duplicate(position))
			rest = rest[length:]
			continue
		}
		length := objectLength(rest)
		var a answer
		if length == 0 || json.Unmarshal(rest[:length], &a) != nil {
			return nil, false
		}
		item, ok := a.item(position)
		if !ok {
			return nil, false
		}
		if !simplyCreated(item) {
			items = append(items, item)
		}
		rest = rest[length:]
	}
	return items, bytes.Equal(rest, endItems)
}

// existsLength returns the length of an item that is a plain duplicate, or
// zero.
func existsLength(text []byte) int {
	reason, ok := bytes.CutPrefix(text, exists)
	if !ok {
		return 0
	}
	for i, c := range reason {
		switch {
		case c == '"':
			if !bytes.HasPrefix(reason[i:], endExist) {
				return 0
			}
			return len(exists) + i + len(endExist)
		case c == '\\' || c < ' ':
			return 0
		}
	}
	return 0
}

// objectLength returns where the JSON object at the start of text ends, or
// zero when it does not.
func objectLength(text []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		if depth == 0 {
			return 0
		}
	}
	return 0
}

// decodeItems reads any response, or says what is wrong with it.
func decodeItems(response []byte, n int) ([]sink.Item, error) {
	var parsed struct {
		Items []answer `json:"items"`
	}
	if err := json.Unmarshal(response, &parsed); err != nil {
		return nil, fmt.Errorf("parse the bulk response: %w", err)
	}
	if len(parsed.Items) != n {
		return nil, fmt.Errorf("read the bulk response: it has %d items for %d documents", len(parsed.Items), n)
	}
	var items []sink.Item
	for position, a := range parsed.Items {
		item, ok := a.item(position)
		if !ok {
			return nil, fmt.Errorf("read the bulk response: item %d does not answer a create", position)
		}
		if !simplyCreated(item) {
			items = append(items, item)
		}
	}
	return items, nil
}
