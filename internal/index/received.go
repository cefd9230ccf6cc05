package index

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Receipts say when documents came; times are zero where none says so.
type Receipts struct {
	Documents int64
	First     time.Time // received_at of the first one
	Last      time.Time // received_at of the last one
	Indexed   time.Time // indexed_at of the last one
}

// search asks all shards: an answer of some would be taken for one of all.
func search(name string, body []byte, filter string) request {
	return request{method: http.MethodPost, path: join(name, "_search"), body: body, query: query{
		"allow_partial_search_results": "false", "filter_path": filter,
	}}
}

// receivedBefore is a query for the documents that a collector received before
// a time, or for all of them where that is zero.
func receivedBefore(before time.Time) map[string]any {
	if before.IsZero() {
		return map[string]any{"match_all": map[string]any{}}
	}
	return map[string]any{"range": map[string]any{"received_at": map[string]any{"lt": before.UnixMilli(), "format": "epoch_millis"}}}
}

// Received says when the documents of an index came: those that were received
// before a time, or all of them where that is zero. It counts what a search
// would find: call Refresh before.
func (c *Client) Received(ctx context.Context, name string, before time.Time) (r Receipts, err error) {
	extreme := func(kind, field string) any { return map[string]any{kind: map[string]any{"field": field}} }
	body, err := json.Marshal(map[string]any{
		"size": 0, "track_total_hits": true, "query": receivedBefore(before), "aggs": map[string]any{
			"first": extreme("min", "received_at"), "last": extreme("max", "received_at"), "indexed": extreme("max", "indexed_at"),
		},
	})
	if err != nil {
		return r, fmt.Errorf("encode a look at %s: %w", name, err)
	}
	var found struct {
		Hits         struct{ Total struct{ Value int64 } }
		Aggregations map[string]struct {
			Value *float64 `json:"value"` // milliseconds
		}
	}
	if err := c.call(ctx, search(name, body, "hits.total,aggregations"), &found); err != nil {
		return r, fmt.Errorf("ask when the documents of %s were received: %w", name, missing(err))
	}
	at := func(name string) time.Time {
		if value := found.Aggregations[name].Value; value != nil {
			return time.UnixMilli(int64(*value)).UTC()
		}
		return time.Time{}
	}
	return Receipts{Documents: found.Hits.Total.Value, First: at("first"), Last: at("last"), Indexed: at("indexed")}, nil
}

// Version is a document as it was when it was found.
type Version struct {
	ID      string `json:"_id"`
	Routing string `json:"_routing"`
	Number  int64  `json:"_seq_no"`
	Term    int64  `json:"_primary_term"`
}

// FindReceivedBefore finds at most so many documents of an index that were
// received before a time, in no order.
func (c *Client) FindReceivedBefore(ctx context.Context, name string, before time.Time, most int) ([]Version, error) {
	body, err := json.Marshal(map[string]any{
		"size": most, "_source": false, "seq_no_primary_term": true, "track_total_hits": false,
		"sort": []string{"_doc"}, "query": receivedBefore(before),
	})
	if err != nil {
		return nil, fmt.Errorf("encode a look for old documents of %s: %w", name, err)
	}
	var found struct{ Hits struct{ Hits []Version } }
	look := search(name, body, "hits.hits._id,hits.hits._routing,hits.hits._seq_no,hits.hits._primary_term")
	if err := c.call(ctx, look, &found); err != nil {
		return nil, fmt.Errorf("look for old documents of %s: %w", name, missing(err))
	}
	return found.Hits.Hits, nil
}
