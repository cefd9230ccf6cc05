package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// windowFlags say which days may have an index of their own.
type windowFlags struct {
	IndexDaysBack  int `help:"Setting of the collectors. From it, starter computes whether the cluster has room for all indices." default:"8" env:"MILLRACE_INDEX_DAYS_BACK"`
	IndexDaysAhead int `help:"Setting of the collectors, likewise." default:"1" env:"MILLRACE_INDEX_DAYS_AHEAD"`
}

// Validate reports what no collector has.
func (w windowFlags) Validate() error {
	if w.IndexDaysBack < 1 || w.IndexDaysAhead < 1 {
		return fmt.Errorf("--index-days-back, --index-days-ahead: %d, %d: collectors have 1 at the least", w.IndexDaysBack, w.IndexDaysAhead)
	}
	return nil
}

// room says whether the cluster has room for all indices that records may need.
// That it cannot be told is no failure: nothing was to be made.
func (s setupCommand) room(ctx context.Context, cfg aws.Config) string {
	const what = "room for indices: "
	c, err := index.Open(s.Settings(cfg))
	if err != nil {
		return what + "not known: " + err.Error()
	}
	n, err := s.needs(ctx, c, s.layout())
	if err != nil {
		return what + "not known: " + err.Error()
	}
	if n.fit() {
		return what + n.String()
	}
	return what + "WARNING: " + n.String() + ".\n    " + moreRoom
}

// moreRoom is what to do where indices do not fit.
const moreRoom = "Delete old indices, raise cluster.max_shards_per_node, or add nodes: at the limit no index is made, and each shard of the stream waits that has a record for one."

// needs is what indices need of the cluster, and what that has.
type needs struct {
	possible int   // names to which records may be written at a time
	shards   int64 // of those that are not there yet
	daily    int64 // shards that come with each day
	room     index.Room
}

func (w windowFlags) needs(ctx context.Context, c *index.Client, each index.Layout) (needs, error) {
	room, err := c.Room(ctx)
	there, listing := c.Indices(ctx, telemetry.IndexPrefix+"*")
	if err := errors.Join(err, listing); err != nil {
		return needs{}, err
	}
	window := telemetry.Window{DaysBack: w.IndexDaysBack, DaysAhead: w.IndexDaysAhead}
	n := needed(each, window.Names(time.Now()), there)
	n.room = room
	return n, nil
}

func needed(l index.Layout, names []string, there map[string]index.State) needs {
	each := int64(l.Shards) * int64(1+l.Replicas)
	n := needs{possible: len(names), daily: int64(len(telemetry.Types)+1) * each}
	for _, name := range names {
		if _, made := there[name]; !made {
			n.shards += each
		}
	}
	return n
}

// fit reports whether the cluster has room for them, and not only just.
func (n needs) fit() bool { return float64(n.shards) <= index.Near*float64(n.room.Free()) }

// String compares them with the cluster's room.
func (n needs) String() string {
	return fmt.Sprintf("%d names are possible at a time, and those that are not there yet have %d shards; the cluster takes %d more (%d of %d are used), and each day adds %d until retention deletes as many",
		n.possible, n.shards, n.room.Free(), n.room.Used, n.room.Limit, n.daily)
}
