package index

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
)

// Room is how many shards a cluster may have, of open indices and with their
// replicas. At its limit it makes no index any more, and each shard of the stream
// that has a record for a new one waits.
type Room struct{ Limit, Used int64 }

// Free is how many more there may be.
func (r Room) Free() int64 { return max(0, r.Limit-r.Used) }

// Near is the part of the room, and of the limit, beyond which it is time to act:
// the rest lasts for the days that this takes.
const Near = 0.9

// Full reports whether the limit is near.
func (r Room) Full() bool { return float64(r.Used) > Near*float64(r.Limit) }

// The limits of a cluster's shards: cluster.max_shards_per_node holds for each
// data node, total_shards_limit for the cluster, in OpenSearch alone.
const (
	perNodeDefault   = 1000
	perNodeSetting   = "*.cluster.max_shards_per_node"
	inClusterSetting = "*.cluster.routing.allocation.total_shards_limit"
)

// Room asks how many shards the cluster has and may have.
func (c *Client) Room(ctx context.Context) (room Room, err error) {
	type limits struct {
		Cluster struct {
			PerNode string `json:"max_shards_per_node"`
			Routing struct {
				Allocation struct {
					Total string `json:"total_shards_limit"`
				}
			}
		}
	}
	var settings struct{ Transient, Persistent, Defaults limits }
	look := request{method: http.MethodGet, path: join("_cluster", "settings"), query: query{
		"include_defaults": "true", "filter_path": perNodeSetting + "," + inClusterSetting,
	}}
	if err := c.call(ctx, look, &settings); err != nil {
		return room, fmt.Errorf("ask for the cluster's limit of shards: %w", err)
	}
	var health struct {
		Nodes        int64 `json:"number_of_data_nodes"`
		Active       int64 `json:"active_shards"`
		Initializing int64 `json:"initializing_shards"`
		Unassigned   int64 `json:"unassigned_shards"`
	}
	look = request{method: http.MethodGet, path: join("_cluster", "health"), query: query{"expand_wildcards": "open,hidden"}}
	if err := c.call(ctx, look, &health); err != nil {
		return room, fmt.Errorf("ask how many shards the cluster has: %w", err)
	}
	perNode, total := int64(perNodeDefault), int64(-1)
	for _, s := range []limits{settings.Defaults, settings.Persistent, settings.Transient} { // the last one holds
		if n, err := strconv.ParseInt(s.Cluster.PerNode, 10, 64); err == nil {
			perNode = n
		}
		if n, err := strconv.ParseInt(s.Cluster.Routing.Allocation.Total, 10, 64); err == nil {
			total = n
		}
	}
	room = Room{Limit: perNode * health.Nodes, Used: health.Active + health.Initializing + health.Unassigned}
	if total >= 0 {
		room.Limit = min(room.Limit, total)
	}
	return room, nil
}
