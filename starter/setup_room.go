package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// room says whether the cluster has room for all indices that records may need.
// That it cannot be told is no failure: nothing was to be made.
func (s setupCommand) room(ctx context.Context, cfg aws.Config) string {
	const what = "room for indices: "
	c, err := index.Open(s.Settings(cfg))
	if err != nil {
		return what + "not known: " + err.Error()
	}
	room, err := c.Room(ctx)
	if err != nil {
		return what + "not known: " + err.Error()
	}
	there, err := c.Indices(ctx, telemetry.IndexPrefix+"*")
	if err != nil {
		return what + "not known: " + err.Error()
	}
	window := telemetry.Window{DaysBack: s.IndexDaysBack, DaysAhead: s.IndexDaysAhead}
	return what + s.needs(window.Names(time.Now()), there).in(room)
}

// needs is what indices need of the cluster.
type needs struct {
	possible int   // names to which records may be written at a time
	shards   int64 // of those that are not there yet
	daily    int64 // shards that come with each day
}

func (s setupCommand) needs(names []string, there map[string]index.State) needs {
	each := int64(s.IndexShards) * int64(1+s.Replicas)
	n := needs{possible: len(names), daily: int64(len(telemetry.Types)+1) * each}
	for _, name := range names {
		if _, made := there[name]; !made {
			n.shards += each
		}
	}
	return n
}

// in compares them with the cluster's room.
func (n needs) in(room index.Room) string {
	text := fmt.Sprintf("%d names are possible at a time, and those that are not there yet have %d shards; the cluster takes %d more (%d of %d are used), and each day adds %d until retention deletes as many",
		n.possible, n.shards, room.Free(), room.Used, room.Limit, n.daily)
	if float64(n.shards) <= index.Near*float64(room.Free()) {
		return text
	}
	return "WARNING: " + text + ".\n    Delete old indices, raise cluster.max_shards_per_node, or add nodes: at the limit no index is made, and each shard of the stream waits that has a record for one."
}
