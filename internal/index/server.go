package index

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Oldest is the oldest version of each flavor with everything that is used here: the header by
// which genuine tells Elasticsearch came with 7.14, and the mapping type flat_object with OpenSearch
// 2.7 (OpenSearch documentation, 'Flat object').
var Oldest = map[Flavor]string{Elasticsearch: "7.14", OpenSearch: "2.7"}

// Server is what the nodes say that they are.
type Server struct {
	Flavor   Flavor
	Versions []string // of the nodes, each once
}

// Server asks the nodes what they are. That needs the privilege monitor, and no main page, which
// proxies answer in their own way.
func (c *Client) Server(ctx context.Context) (Server, error) {
	var info struct {
		Nodes map[string]struct {
			Version     string
			BuildFlavor string `json:"build_flavor"` // of Elasticsearch alone
		}
	}
	look := request{method: http.MethodGet, path: join("_nodes", "process"), query: query{"filter_path": "nodes.*.version,nodes.*.build_flavor"}}
	if err := c.call(ctx, look, &info); err != nil {
		return Server{}, fmt.Errorf("ask the nodes for their version: %w", err)
	}
	if len(info.Nodes) == 0 {
		return Server{}, errors.New("ask the nodes for their version: none answers")
	}
	s := Server{Flavor: OpenSearch}
	for _, node := range info.Nodes {
		s.Versions = append(s.Versions, node.Version)
		if node.BuildFlavor != "" {
			s.Flavor = Elasticsearch
		}
	}
	slices.Sort(s.Versions)
	s.Versions = slices.Compact(s.Versions)
	return s, nil
}

// Clocks returns how far the clock of each node is ahead of this machine's, by the node's name. It
// is wrong by at most half of the time that the answer took.
func (c *Client) Clocks(ctx context.Context) (map[string]time.Duration, error) {
	var stats struct {
		Nodes map[string]struct {
			Name      string
			Timestamp int64 // milliseconds since 1970
		}
	}
	look := request{method: http.MethodGet, path: join("_nodes", "stats", "process"), query: query{
		"filter_path": "nodes.*.name,nodes.*.timestamp",
	}}
	asked := time.Now()
	if err := c.call(ctx, look, &stats); err != nil {
		return nil, fmt.Errorf("ask the nodes for their time: %w", err)
	}
	between := asked.Add(time.Since(asked) / 2)
	ahead := map[string]time.Duration{}
	for _, node := range stats.Nodes {
		ahead[node.Name] = time.UnixMilli(node.Timestamp).Sub(between)
	}
	return ahead, nil
}
