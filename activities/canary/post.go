package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"millrace/internal/telemetry"
)

// telemetryPath takes an array of records in JSON (api/openapi.yaml).
const telemetryPath = "/v1/telemetry"

// newClient connects anew for each post, so that it meets what a new agent would:
// names, certificates, load balancers. It follows no redirect, which no agent must.
func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post posts one record, once, and returns the id that the collector gave to the
// request. An agent would try again; that a collector refuses is what the canary is for.
func (p *Prober) post(ctx context.Context, url, id string, at time.Time) (requestID string, err error) {
	body, err := json.Marshal([]any{map[string]string{
		"id": id, "type": "event", "timestamp": at.UTC().Format(telemetry.TimestampLayout),
	}})
	if err != nil {
		return "", fmt.Errorf("encode the record: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+telemetryPath, bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("make the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "ApiKey "+p.key)
	response, err := p.client.Do(request)
	if err != nil {
		return "", err //nolint:wrapcheck // it says what was posted where
	}
	defer response.Body.Close()
	requestID = response.Header.Get("X-Request-Id")
	const most = 4 << 10 // bytes of an answer
	answer, _ := io.ReadAll(io.LimitReader(response.Body, most))
	if response.StatusCode != http.StatusAccepted {
		return requestID, fmt.Errorf("%s answered %s: %.200s", url, response.Status, answer)
	}
	return requestID, nil
}
