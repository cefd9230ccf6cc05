package index

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Sent asks for the documents of an index that were sent before a time, by their
// indexed_at.
type Sent struct {
	Index  string
	Before time.Time
}

// countsAtOnce bounds the searches of one request: their answers together must
// not take as long as a request may.
const countsAtOnce = 100

// LongestBulk is how long after a bulk was sent it may still be at work: after the
// timeout of its request Elasticsearch itself may go on waiting for a shard, for a
// minute where it is not told otherwise.
func (c *Client) LongestBulk() time.Duration { return max(2*c.timeout, time.Minute) }

// CountSent counts what a search would find: call Refresh before. Of an index that
// is not there, or a shard of which does not answer, it is -1, not known.
func (c *Client) CountSent(ctx context.Context, asked []Sent) (counts []int64, err error) {
	for len(asked) > 0 {
		some := asked[:min(len(asked), countsAtOnce)]
		asked = asked[len(some):]
		found, err := c.countSent(ctx, some)
		if err != nil {
			return nil, fmt.Errorf("count documents by when they were sent: %w", err)
		}
		counts = append(counts, found...)
	}
	return counts, nil
}

func (c *Client) countSent(ctx context.Context, asked []Sent) ([]int64, error) {
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	for _, one := range asked {
		header := map[string]any{"index": one.Index, "allow_partial_search_results": false}
		search := map[string]any{"size": 0, "track_total_hits": true, "query": map[string]any{
			"range": map[string]any{"indexed_at": map[string]any{"lt": one.Before.UnixMilli(), "format": "epoch_millis"}},
		}}
		for _, line := range []any{header, search} {
			if err := lines.Encode(line); err != nil {
				return nil, fmt.Errorf("encode the searches: %w", err)
			}
		}
	}
	var answer struct {
		Responses []struct {
			Status int
			Hits   struct{ Total struct{ Value int64 } }
		}
	}
	searches := request{method: http.MethodPost, path: join("_msearch"), body: body.Bytes(), query: query{
		"filter_path": "responses.status,responses.hits.total.value",
	}}
	if err := c.call(ctx, searches, &answer); err != nil {
		return nil, err
	}
	if len(answer.Responses) != len(asked) {
		return nil, fmt.Errorf("%d searches have %d answers", len(asked), len(answer.Responses))
	}
	counts := make([]int64, len(asked))
	for i, one := range answer.Responses {
		counts[i] = -1
		if one.Status == http.StatusOK {
			counts[i] = one.Hits.Total.Value
		}
	}
	return counts, nil
}
