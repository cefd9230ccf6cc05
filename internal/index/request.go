package index

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"millrace/internal/outcome"
)

// request is one that is not a bulk of telemetry.
type request struct {
	method string
	path   string // see join
	query  query
	body   []byte // JSON, or lines of JSON
}

type query map[string]string

// join joins parts of a path, and escapes the names among them. A list of names is one part, with commas.
func join(parts ...string) string {
	var text strings.Builder
	for _, part := range parts {
		text.WriteByte('/')
		text.WriteString(strings.ReplaceAll(url.PathEscape(part), "%2C", ","))
	}
	return text.String()
}

// StatusError is a server's refusal of a request that is not a bulk.
type StatusError struct {
	Status int
	Reason outcome.Error
}

// Error names status, type and reason, and what that came of. No document is
// in it.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d: %s: %s", e.Status, e.Reason.Type, e.Reason.Reason)
	for cause := e.Reason.Cause; cause != nil; cause = cause.Cause {
		text += ": " + cause.Reason
	}
	return text
}

// call sends a request, and decodes the answer into result unless that is nil. The
// error wraps a *StatusError when the server refused.
func (c *Client) call(ctx context.Context, r request, result any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	sent, err := r.http(ctx)
	if err != nil {
		return err
	}
	response, err := c.transport.Perform(sent)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxResponseSize))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return &StatusError{Status: response.StatusCode, Reason: requestError(response.StatusCode, text)}
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(text, result); err != nil {
		return fmt.Errorf("parse the answer: %w", err)
	}
	return nil
}

// http is the request as the transport takes it, which puts a server's address before the path.
func (r request) http(ctx context.Context) (*http.Request, error) {
	if strings.Contains(r.path+"/", "//") { // it would be about all indices, or all snapshots
		return nil, fmt.Errorf("make a request: a name in %s is empty", r.path)
	}
	values := url.Values{}
	for name, value := range r.query {
		values.Set(name, value)
	}
	target := r.path
	if len(values) > 0 {
		target += "?" + values.Encode()
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	sent, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	if r.body != nil {
		sent.Header.Set("Content-Type", "application/json")
	}
	return sent, nil
}
