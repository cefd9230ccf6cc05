package index

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// ReceivedAt says of each document when a collector received it; zero where that is
// not known.
func (c *Client) ReceivedAt(ctx context.Context, documents []sink.Reference) ([]time.Time, error) {
	body, err := json.Marshal(map[string]any{"docs": documents})
	if err != nil {
		return nil, fmt.Errorf("encode a look for %d documents: %w", len(documents), err)
	}
	var answer struct {
		Docs []struct {
			Source struct {
				ReceivedAt string `json:"received_at"`
			} `json:"_source"`
		} `json:"docs"`
	}
	look := request{method: http.MethodPost, path: join("_mget"), body: body, query: query{
		"_source_includes": "received_at", "filter_path": "docs._id,docs._source.received_at",
	}}
	if err := c.call(ctx, look, &answer); err != nil {
		return nil, fmt.Errorf("ask when %d documents were received: %w", len(documents), err)
	}
	if len(answer.Docs) != len(documents) {
		return nil, fmt.Errorf("ask when %d documents were received: %d are answered for", len(documents), len(answer.Docs))
	}
	received := make([]time.Time, len(documents))
	for i, d := range answer.Docs {
		received[i], _ = time.Parse(telemetry.ReceivedAtLayout, d.Source.ReceivedAt) // another client wrote it
	}
	return received, nil
}
