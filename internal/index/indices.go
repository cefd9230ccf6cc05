package index

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// State is an index as the cluster has it.
type State struct {
	UUID    string
	Health  string // green, yellow: complete; red: a primary shard is missing
	Closed  bool
	Shards  int // primaries
	Bytes   int64
	Created time.Time // kept by a restore, new where it was deleted and made again
	// Documents are those that a search would find: call Refresh before. Of an
	// index that is closed or red they are -1, not known.
	Documents int64
}

// Red reports whether a part of the index is out of service.
func (s State) Red() bool { return s.Health == "red" }

// Indices describes the indices that match patterns, by name. None is no error.
func (c *Client) Indices(ctx context.Context, patterns ...string) (map[string]State, error) {
	list := request{method: http.MethodGet, path: join("_cat", "indices", strings.Join(patterns, ",")), query: query{
		"format": "json", "bytes": "b", "expand_wildcards": "open,closed",
		"h": "index,uuid,health,status,pri,docs.count,pri.store.size,creation.date",
	}}
	var rows []struct {
		Index, UUID, Health, Status, Pri string
		Documents                        *string `json:"docs.count"`
		Size                             *string `json:"pri.store.size"`
		Created                          string  `json:"creation.date"`
	}
	if err := c.call(ctx, list, &rows); err != nil {
		return nil, fmt.Errorf("describe indices: %w", missing(err))
	}
	all := map[string]State{}
	for _, row := range rows {
		created := number(row.Created)
		state := State{
			UUID: row.UUID, Health: row.Health, Closed: row.Status == "close", Shards: int(number(row.Pri)),
			Created: time.UnixMilli(created).UTC(), Documents: -1,
		}
		if row.Size != nil {
			state.Bytes = number(*row.Size)
		}
		if row.Documents != nil && !state.Red() && !state.Closed {
			state.Documents = number(*row.Documents)
		}
		all[row.Index] = state
	}
	return all, nil
}

// number reads a column; one that is empty is zero.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// longestExclusion bounds in bytes the names in a request's line, which may
// have 4 KiB.
const longestExclusion = 2 << 10

// Refresh makes everything that was indexed before the call countable, but for
// indices that are red: the server would wait for those. It gives up where
// there are very many of them. That no index matches is no error.
func (c *Client) Refresh(ctx context.Context, patterns ...string) error {
	states, err := c.Indices(ctx, patterns...)
	if err != nil {
		return err
	}
	names := slices.Clone(patterns)
	excluded := 0
	for name, state := range states {
		if state.Red() {
			names = append(names, "-"+name)
			excluded += len(name)
		}
	}
	if excluded > longestExclusion {
		return fmt.Errorf("refresh indices: too many of %d are red", len(states))
	}
	refresh := request{method: http.MethodPost, path: join(strings.Join(names, ","), "_refresh"), query: query{
		"ignore_unavailable": "true", "allow_no_indices": "true",
	}}
	if err := c.call(ctx, refresh, nil); err != nil {
		return fmt.Errorf("refresh indices: %w", missing(err))
	}
	return nil
}

// CloseIndex takes an index out of service, so that it can be restored over.
func (c *Client) CloseIndex(ctx context.Context, name string) error {
	if err := c.call(ctx, request{method: http.MethodPost, path: join(name, "_close")}, nil); err != nil {
		return fmt.Errorf("close index %s: %w", name, missing(err))
	}
	return nil
}

// OpenIndex puts an index that was closed into service again.
func (c *Client) OpenIndex(ctx context.Context, name string) error {
	if err := c.call(ctx, request{method: http.MethodPost, path: join(name, "_open")}, nil); err != nil {
		return fmt.Errorf("open index %s: %w", name, missing(err))
	}
	return nil
}

// DeleteIndex deletes one index: a pattern is refused. That it is not there is
// no error.
func (c *Client) DeleteIndex(ctx context.Context, name string) error {
	if name == "" || strings.ContainsAny(name, "*,") || name == "_all" {
		return fmt.Errorf("delete index %q: that is not the name of one index", name)
	}
	// Also one that another client deletes at the same time, which Elasticsearch does not ignore.
	err := missing(c.call(ctx, request{method: http.MethodDelete, path: join(name), query: query{"ignore_unavailable": "true"}}, nil))
	if err != nil && !errors.Is(err, ErrMissing) {
		return fmt.Errorf("delete index %s: %w", name, err)
	}
	return nil
}
