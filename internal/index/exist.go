package index

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// exist asks whether documents are there, and for nothing of them; find for their
// digests. They are answered from the translog as well: no refresh is needed.
var (
	exist = query{"_source": "false", "filter_path": "docs.found,docs.error.type,docs.error.reason"}
	find  = query{"_source_includes": "digest", "filter_path": "docs.found,docs.error.type,docs.error.reason,docs._source.digest"}
)

// Exist reports of each document whether it is indexed. One whose index is not
// there, or cannot be, is not. A *LookupError leaves the answers for all other
// documents; after any other error nothing is known.
func (c *Client) Exist(ctx context.Context, documents []sink.Reference) ([]bool, error) {
	found, err := c.lookUp(ctx, exist, documents)
	if found == nil {
		return nil, err
	}
	there := make([]bool, len(found))
	for i, f := range found {
		there[i] = f.There
	}
	return there, err
}

// Find is Exist that tells the digests of documents, too.
func (c *Client) Find(ctx context.Context, documents []sink.Reference) ([]sink.Found, error) {
	return c.lookUp(ctx, find, documents)
}

func (c *Client) lookUp(ctx context.Context, look query, documents []sink.Reference) ([]sink.Found, error) {
	if len(documents) == 0 {
		return nil, nil
	}
	body, err := json.Marshal(map[string]any{"docs": documents})
	if err != nil {
		return nil, fmt.Errorf("encode a look for %d documents: %w", len(documents), err)
	}
	var answer struct {
		Docs []struct {
			Found  *bool `json:"found"`
			Source struct {
				Digest string `json:"digest"`
			} `json:"_source"`
			Error outcome.Error `json:"error"`
		} `json:"docs"`
	}
	if err := c.call(ctx, request{method: http.MethodPost, path: join("_mget"), query: look, body: body}, &answer); err != nil {
		return nil, fmt.Errorf("look for %d documents: %w", len(documents), err)
	}
	if len(answer.Docs) != len(documents) {
		return nil, fmt.Errorf("look for %d documents: %d are answered for", len(documents), len(answer.Docs))
	}
	found := make([]sink.Found, len(documents))
	var failed *sink.LookupError
	for i, d := range answer.Docs {
		switch {
		case d.Found != nil:
			found[i].There = *d.Found
			found[i].Digest, _ = telemetry.ParseDigest(d.Source.Digest) // older documents carry none
		case d.Error.Type == "index_not_found_exception", d.Error.Type == "invalid_index_name_exception":
		default:
			if failed == nil {
				failed = &sink.LookupError{Document: documents[i], Cause: d.Error, Closed: true}
			}
			failed.Closed = failed.Closed && d.Error.Type == "index_closed_exception"
		}
	}
	if failed != nil {
		return found, failed
	}
	return found, nil
}
