package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
)

// elastic is the Elasticsearch that the contenders index into.
type elastic struct {
	url   string
	pid   int
	index string
	mode  string // index.mode of the index; "": that of the template
}

const (
	// lookInterval lies between two looks at how far a run is.
	lookInterval = 25 * time.Millisecond
	// stuckAfter is how long a run may get no further.
	stuckAfter = time.Minute

	// Elasticsearch has settled when it merges nothing and uses less than
	// this share of a processor, over an interval.
	settledShare    = 0.15
	settledInterval = 500 * time.Millisecond
	settleWithin    = time.Minute
)

// renew deletes the index, if it is there, makes it anew, and waits until the
// server has nothing left to do.
func (e elastic) renew(ctx context.Context) error {
	if err := e.call(ctx, http.MethodDelete, "/"+e.index+"?ignore_unavailable=true", "", nil); err != nil {
		return err
	}
	// Mapping and translog durability are those of the templates.
	settings := `"index.number_of_shards":2,"index.number_of_replicas":0,"index.refresh_interval":"5s"`
	if e.mode != "" {
		settings += `,"index.mode":` + strconv.Quote(e.mode)
	}
	if err := e.call(ctx, http.MethodPut, "/"+e.index+"?wait_for_active_shards=all", `{"settings":{`+settings+`}}`, nil); err != nil {
		return err
	}
	return e.settle(ctx)
}

// settle waits until the server has nothing left to do. One that never has is
// measured all the same: it is so for all contenders.
func (e elastic) settle(ctx context.Context) error {
	before, err := pipeline.CPUTime(e.pid)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(settleWithin); time.Now().Before(deadline); {
		if err := pause(ctx, settledInterval); err != nil {
			return err
		}
		now, err := pipeline.CPUTime(e.pid)
		if err != nil {
			return err
		}
		var stats struct {
			All struct {
				Total struct{ Merges struct{ Current int } }
			} `json:"_all"`
		}
		if err := e.call(ctx, http.MethodGet, "/_stats/merge?filter_path=_all.total.merges.current", "", &stats); err != nil {
			return err
		}
		if stats.All.Total.Merges.Current == 0 && (now-before).Seconds() < settledShare*settledInterval.Seconds() {
			return nil
		}
		before = now
	}
	return nil
}

// await waits until that many documents are indexed, and returns when that
// was. The server says so, for every contender.
func (e elastic) await(ctx context.Context, want int, ended <-chan struct{}) (time.Time, error) {
	last, moved := 0, time.Now()
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		var stats struct {
			All struct {
				Primaries struct {
					Indexing struct {
						Total int `json:"index_total"`
					}
				}
			} `json:"_all"`
		}
		if err := e.call(ctx, http.MethodGet, "/"+e.index+"/_stats/indexing?filter_path=_all.primaries.indexing.index_total", "", &stats); err != nil {
			return time.Time{}, err
		}
		n, now := stats.All.Primaries.Indexing.Total, time.Now()
		if n >= want {
			return now, nil
		}
		if n != last {
			last, moved = n, now
		}
		if now.Sub(moved) > stuckAfter {
			return time.Time{}, fmt.Errorf("%d of %d records are indexed, and no more for %v", n, want, stuckAfter)
		}
		select {
		case <-tick.C:
		case <-ended:
			ended = nil
			moved = now.Add(5*time.Second - stuckAfter) // nothing comes any more but what is under way
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		}
	}
}

// check counts the documents.
func (e elastic) check(ctx context.Context, want int) error {
	if err := e.call(ctx, http.MethodPost, "/"+e.index+"/_refresh", "", nil); err != nil {
		return err
	}
	var answer struct{ Count int }
	if err := e.call(ctx, http.MethodGet, "/"+e.index+"/_count", "", &answer); err != nil {
		return err
	}
	if answer.Count != want {
		return fmt.Errorf("%d documents are there, and not %d", answer.Count, want)
	}
	return nil
}

// size returns what the index has on disk, in bytes, once all is merged.
func (e elastic) size(ctx context.Context) (float64, error) {
	if err := e.call(ctx, http.MethodPost, "/"+e.index+"/_forcemerge?max_num_segments=1", "", nil); err != nil {
		return 0, err
	}
	if err := e.call(ctx, http.MethodPost, "/"+e.index+"/_flush", "", nil); err != nil {
		return 0, err
	}
	var stats struct {
		All struct {
			Primaries struct {
				Store struct {
					Bytes float64 `json:"size_in_bytes"`
				}
			}
		} `json:"_all"`
	}
	err := e.call(ctx, http.MethodGet, "/"+e.index+"/_stats/store?filter_path=_all.primaries.store.size_in_bytes", "", &stats)
	return stats.All.Primaries.Store.Bytes, err
}

func (e elastic) call(ctx context.Context, method, path, body string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, e.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := local.Client.Do(request)
	if err != nil {
		return fmt.Errorf("ask Elasticsearch: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read Elasticsearch's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: Elasticsearch answered %s: %.300s", method, path, response.Status, text)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("decode Elasticsearch's answer: %w", err)
	}
	return nil
}
