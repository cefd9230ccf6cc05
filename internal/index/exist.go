package index

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// Reference names a document.
type Reference struct {
	Index string `json:"_index"`
	ID    string `json:"_id"`
}

// existPath asks whether documents are there, and for nothing of them. It is
// answered from the translog as well: no refresh is needed.
var existPath = "/_mget?" + url.Values{
	"_source": {"false"}, "filter_path": {"docs.found,docs.error.type,docs.error.reason"},
}.Encode()

// LookupError says that documents could not be looked up, each for a reason of
// its own, while others could.
type LookupError struct {
	Document Reference // the first of them
	Cause    Error     // its own
	Closed   bool      // the reason is of all of them that their index is closed
}

// Error implements error.
func (e *LookupError) Error() string {
	return fmt.Sprintf("look for document %s in %s: %s", e.Document.ID, e.Document.Index, e.Cause.Type)
}

// Exist reports of each document whether it is indexed. One whose index is not
// there, or cannot be, is not. A *LookupError leaves the answers for all other
// documents; after any other error nothing is known.
func (c *Client) Exist(ctx context.Context, documents []Reference) ([]bool, error) {
	if len(documents) == 0 {
		return nil, nil
	}
	body, err := json.Marshal(map[string]any{"docs": documents})
	if err != nil {
		return nil, fmt.Errorf("encode a look for %d documents: %w", len(documents), err)
	}
	var answer struct {
		Docs []struct {
			Found *bool `json:"found"`
			Error Error `json:"error"`
		} `json:"docs"`
	}
	if err := c.call(ctx, http.MethodPost, existPath, body, &answer); err != nil {
		return nil, fmt.Errorf("look for %d documents: %w", len(documents), err)
	}
	if len(answer.Docs) != len(documents) {
		return nil, fmt.Errorf("look for %d documents: %d are answered for", len(documents), len(answer.Docs))
	}
	found := make([]bool, len(documents))
	var failed *LookupError
	for i, d := range answer.Docs {
		switch {
		case d.Found != nil:
			found[i] = *d.Found
		case d.Error.Type == "index_not_found_exception", d.Error.Type == "invalid_index_name_exception":
		default:
			if failed == nil {
				failed = &LookupError{documents[i], d.Error, true}
			}
			failed.Closed = failed.Closed && d.Error.Type == "index_closed_exception"
		}
	}
	if failed != nil {
		return found, failed
	}
	return found, nil
}
