package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// Error is what Elasticsearch said, exactly.
type Error struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
	Cause  *Error `json:"caused_by,omitempty"`
	Status int    `json:"status,omitempty"`
}

// Item is a document that was not simply created.
type Item struct {
	Position  int // in the bulk
	Class     Class
	Duplicate bool // Indexed, but earlier
	Error     Error
}

// What a filtered response looks like when every document was created: nearly
// always. It is compared, not parsed.
var (
	allFineStart = []byte(`{"errors":false,"items":[`)
	created      = []byte(`{"create":{"status":201}}`)
	allFineEnd   = []byte(`]}`)
)

// allCreated reports whether response says of exactly n documents that they
// were created, and nothing else.
func allCreated(response []byte, n int) bool {
	rest, ok := bytes.CutPrefix(response, allFineStart)
	for i := 0; ok && i < n; i++ {
		if i > 0 {
			if rest, ok = bytes.CutPrefix(rest, []byte(",")); !ok {
				return false
			}
		}
		rest, ok = bytes.CutPrefix(rest, created)
	}
	return ok && bytes.Equal(rest, allFineEnd)
}

type bulkResponse struct {
	Items []map[string]struct {
		Status       int    `json:"status"`
		FailureStore string `json:"failure_store"`
		Error        *Error `json:"error"`
	} `json:"items"`
}

// readItems returns the documents that were not simply created. An error means
// that the response does not speak of every document, and so of none.
func readItems(response []byte, n int) ([]Item, error) {
	if allCreated(response, n) {
		return nil, nil
	}
	var parsed bulkResponse
	if err := json.Unmarshal(response, &parsed); err != nil {
		return nil, fmt.Errorf("parse the bulk response: %w", err)
	}
	if len(parsed.Items) != n {
		return nil, fmt.Errorf("read the bulk response: it has %d items for %d documents", len(parsed.Items), n)
	}
	var items []Item
	for position, operations := range parsed.Items {
		operation, ok := operations["create"]
		if !ok || len(operations) != 1 {
			return nil, fmt.Errorf("read the bulk response: item %d does not answer a create", position)
		}
		item := Item{Position: position}
		if operation.Error != nil {
			item.Error = *operation.Error
		}
		item.Error.Status = operation.Status
		item.Class = classify(operation.Status, item.Error)
		switch {
		case operation.FailureStore == "used":
			// A 201 that redirected the document elsewhere.
			item.Class = Poison
			item.Error.Type, item.Error.Reason = "failure_store", "the document was redirected to the failure store"
		case item.Class == Indexed && operation.Status == http.StatusConflict:
			item.Duplicate = true
		case item.Class == Indexed:
			continue
		}
		items = append(items, item)
	}
	return items, nil
}
