package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Restore says what of a snapshot is restored, and under which names.
type Restore struct {
	Indices []string // names or patterns; at least one
	Suffix  string   // put behind each name; empty: the same names
	Aliases bool     // restore aliases, too
	Partial bool     // take indices that are in the snapshot in part
	// Replicas of the restored indices; nil: as they were.
	Replicas *int
}

// StartRestore begins to restore, and returns; Recovery says how far it is. The
// cluster's state (templates, settings) stays what it is. An open index of the
// same name must be deleted or closed before; the server refuses, and nothing
// is restored.
func (c *Client) StartRestore(ctx context.Context, repository, name string, r Restore) error {
	if len(r.Indices) == 0 {
		return errors.New("restore: no index is named")
	}
	options := map[string]any{
		"indices": strings.Join(r.Indices, ","), "include_global_state": false, "include_aliases": r.Aliases, "partial": r.Partial,
	}
	if r.Suffix != "" {
		options["rename_pattern"], options["rename_replacement"] = "^(.+)$", "$1"+r.Suffix
	}
	if r.Replicas != nil {
		options["index_settings"] = map[string]any{"index.number_of_replicas": *r.Replicas}
	}
	body, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("encode the restore: %w", err)
	}
	start := request{method: http.MethodPost, path: join("_snapshot", repository, name, "_restore"), body: body, query: query{
		"wait_for_completion": "false",
	}}
	if err := c.call(ctx, start, nil); err != nil {
		return fmt.Errorf("restore snapshot %s of repository %s: %w", name, repository, missing(err))
	}
	return nil
}

// Recovery says how far the restore of indices is, by their names after it.
// pattern bounds what the server is asked for: names of thousands of indices
// are too long for a request's line.
func (c *Client) Recovery(ctx context.Context, pattern string, indices []string) (p Progress, err error) {
	var shards map[string]struct {
		Shards []struct {
			Type    string
			Stage   string
			Primary bool
			Index   struct {
				Size struct {
					Total     int64 `json:"total_in_bytes"`
					Reused    int64 `json:"reused_in_bytes"`
					Recovered int64 `json:"recovered_in_bytes"`
				}
			}
		}
	}
	look := request{method: http.MethodGet, path: join(pattern, "_recovery"), query: query{
		"filter_path": "*.shards.type,*.shards.stage,*.shards.primary,*.shards.index.size",
	}}
	if err := c.call(ctx, look, &shards); err != nil {
		return p, fmt.Errorf("follow the restore: %w", missing(err))
	}
	wanted := map[string]bool{}
	for _, name := range indices {
		wanted[name] = true
	}
	started := map[string]int{} // primaries, by index
	for name, of := range shards {
		for _, shard := range of.Shards {
			if shard.Primary && shard.Stage == "DONE" {
				started[name]++
			}
			if !wanted[name] || !shard.Primary || shard.Type != "SNAPSHOT" {
				continue
			}
			if shard.Stage == "DONE" {
				p.Done++
			}
			p.Bytes += shard.Index.Size.Total
			p.Copied += shard.Index.Size.Recovered + shard.Index.Size.Reused
		}
	}
	// A shard that waits for a node, or cannot be restored, is in no recovery. That
	// an index is yellow says nothing: it is so from the beginning of its restore.
	states, err := c.Indices(ctx, pattern)
	if err != nil {
		return p, fmt.Errorf("follow the restore: %w", err)
	}
	p.Ready = true
	for _, name := range indices {
		state, there := states[name]
		p.Shards += state.Shards
		p.Ready = p.Ready && there && !state.Red() && started[name] >= state.Shards && state.Documents >= 0
	}
	return p, nil
}

// Names returns the sorted names of indices.
func Names[T any](indices map[string]T) []string {
	names := make([]string, 0, len(indices))
	for name := range indices {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
