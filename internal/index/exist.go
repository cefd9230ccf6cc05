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

// Exist reports of each document whether it is indexed. One whose index is not
// there is not. The error says that it is not known of one of them at least.
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
	for i, d := range answer.Docs {
		switch {
		case d.Found != nil:
			found[i] = *d.Found
		case d.Error.Type != "index_not_found_exception":
			return nil, fmt.Errorf("look for document %s in %s: %s", documents[i].ID, documents[i].Index, d.Error.Type)
		}
	}
	return found, nil
}
