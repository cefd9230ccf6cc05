package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"millrace/internal/outcome"
)

// DeleteVersions deletes documents of an index, each only in the version in
// which it was found: one that was written anew meanwhile stays, and one that
// is gone is no error. It returns how many it has deleted, also beside an error.
func (c *Client) DeleteVersions(ctx context.Context, name string, versions []Version) (deleted int, err error) {
	if len(versions) == 0 {
		return 0, nil
	}
	type place struct {
		Index   string `json:"_index"`
		ID      string `json:"_id"`
		Routing string `json:"routing,omitempty"`
		Number  int64  `json:"if_seq_no"`
		Term    int64  `json:"if_primary_term"`
	}
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	for _, v := range versions {
		if err := lines.Encode(map[string]place{"delete": {name, v.ID, v.Routing, v.Number, v.Term}}); err != nil {
			return 0, fmt.Errorf("encode deletions from %s: %w", name, err)
		}
	}
	var answer struct {
		Items []struct {
			Delete struct {
				Status int
				Error  outcome.Error
			}
		}
	}
	deletions := request{method: http.MethodPost, path: join("_bulk"), body: body.Bytes(), query: query{
		"refresh":     "true", // so that the next search does not find them again
		"filter_path": "items.delete.status,items.delete.error.type,items.delete.error.reason",
	}}
	if err := c.call(ctx, deletions, &answer); err != nil {
		return 0, fmt.Errorf("delete %d documents of %s: %w", len(versions), name, err)
	}
	if len(answer.Items) != len(versions) {
		return 0, fmt.Errorf("delete %d documents of %s: %d are answered for", len(versions), name, len(answer.Items))
	}
	for i, item := range answer.Items {
		switch done := item.Delete; {
		case done.Status < http.StatusMultipleChoices:
			deleted++
		case done.Status == http.StatusNotFound, done.Status == http.StatusConflict:
		case err == nil:
			err = fmt.Errorf("delete document %s of %s: %w", versions[i].ID, name, &StatusError{Status: done.Status, Reason: done.Error})
		}
	}
	return deleted, err
}

// Seal blocks an index for writes, and returns when none is in flight any more.
// What is written to it meanwhile waits, or is parked. The block goes with the
// index, or by unseal, which leaves one that was there before.
func (c *Client) Seal(ctx context.Context, name string) (unseal func(context.Context) error, err error) {
	var found map[string]struct {
		Settings struct {
			Index struct{ Blocks struct{ Write string } }
		}
	}
	if err := c.call(ctx, request{method: http.MethodGet, path: join(name, "_settings", "index.blocks.write")}, &found); err != nil {
		return nil, fmt.Errorf("look at the blocks of index %s: %w", name, missing(err))
	}
	if err := c.call(ctx, request{method: http.MethodPut, path: join(name, "_block", "write")}, nil); err != nil {
		return nil, fmt.Errorf("block writes to index %s: %w", name, missing(err))
	}
	return func(ctx context.Context) error {
		if found[name].Settings.Index.Blocks.Write == "true" {
			return nil
		}
		lift := request{method: http.MethodPut, path: join(name, "_settings"), body: []byte(`{"index.blocks.write":null}`)}
		err := missing(c.call(ctx, lift, nil))
		if err != nil && !errors.Is(err, ErrMissing) {
			return fmt.Errorf("allow writes to index %s again: %w", name, err)
		}
		return nil
	}, nil
}
