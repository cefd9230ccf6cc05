package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
)

// Settings say where documents go.
type Settings struct {
	URLs       []string
	APIKey     string // base64; or Username and Password
	Username   string
	Password   string
	CAFile     string        // PEM of the authority that signed the server's certificate; empty for the system's
	OpenSearch bool          // the server is OpenSearch
	Timeout    time.Duration // of one request; DefaultTimeout when zero
}

// DefaultTimeout bounds one bulk request.
const DefaultTimeout = 30 * time.Second

// maxResponseSize bounds in bytes what is read of one response: 10,000
// documents with a long error each stay far below it.
const maxResponseSize = 64 << 20

// bulkFilter asks for nothing but what the outcome table needs.
var bulkFilter = []string{"errors", "items.*.status", "items.*.error", "items.*.failure_store"}

// Client sends bulks. It is safe for concurrent use.
type Client struct {
	client  *elasticsearch.Client
	timeout time.Duration
}

// Open makes a client. It does not connect yet.
func Open(s Settings) (*Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64 // all in-flight bulks go to few hosts
	config := elasticsearch.Config{
		Addresses:    s.URLs,
		APIKey:       s.APIKey,
		Username:     s.Username,
		Password:     s.Password,
		DisableRetry: true, // an answer that got lost must reach the outcome table
		Transport:    transport,
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority of Elasticsearch: %w", err)
		}
		config.CACert = pem
	}
	if s.OpenSearch {
		config.Transport = productHeader{transport}
		if config.CACert != nil {
			return nil, errors.New("a certificate authority of one's own is not supported with OpenSearch: add it to the system's")
		}
	}
	client, err := elasticsearch.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("make the Elasticsearch client: %w", err)
	}
	c := &Client{client: client, timeout: s.Timeout}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	return c, nil
}

// productHeader supplies the header by which go-elasticsearch recognizes its
// server. Without it the client reports an error after a bulk was applied.
type productHeader struct{ next http.RoundTripper }

// RoundTrip sends the request and adds the header to its response.
func (t productHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if response != nil {
		response.Header.Set("X-Elastic-Product", "Elasticsearch")
	}
	return response, err
}

// Result is what became of one bulk request.
type Result struct {
	// Class is of the request as a whole. Indexed means that every document
	// was answered for: look at Items. With any other class no document may be
	// taken for indexed, though some may be.
	Class    Class
	Items    []Item // those that were not simply created, by position
	Error    Error  // why, when Class is not Indexed
	TimedOut bool   // Transient, because no answer came in time
	Took     time.Duration
}

// Do sends a bulk once. Every failure is in the result.
func (c *Client) Do(ctx context.Context, b *Bulk) Result {
	start := time.Now()
	result := c.do(ctx, b)
	result.Took = time.Since(start)
	return result
}

func (c *Client) do(ctx context.Context, b *Bulk) Result {
	if b.Len() == 0 {
		return Result{}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := c.client.Bulk(bytes.NewReader(b.body),
		c.client.Bulk.WithContext(ctx), c.client.Bulk.WithFilterPath(bulkFilter...))
	if err != nil {
		return unanswered(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseSize))
	if err != nil {
		return unanswered(err)
	}
	if response.StatusCode != http.StatusOK {
		return Result{Class: classifyRequest(response.StatusCode), Error: requestError(response.StatusCode, body)}
	}
	items, err := readItems(body, b.Len())
	if err != nil {
		return unanswered(err)
	}
	return Result{Items: items}
}

// unanswered is the result of a request whose outcome nobody told us.
func unanswered(err error) Result {
	var timeout net.Error
	return Result{
		Class:    Transient,
		Error:    Error{Type: "no_answer", Reason: err.Error()},
		TimedOut: errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout(),
	}
}

// reasonSize bounds in bytes what is kept of an answer that is not JSON.
const reasonSize = 1024

// requestError reads the error of a whole request. A proxy may have written
// it, so it need not be JSON.
func requestError(status int, body []byte) Error {
	var parsed struct {
		Error Error `json:"error"`
	}
	if json.Unmarshal(body, &parsed) != nil || parsed.Error.Type == "" {
		parsed.Error = Error{Type: http.StatusText(status), Reason: string(body[:min(len(body), reasonSize)])}
	}
	parsed.Error.Status = status
	return parsed.Error
}
