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
	"net/url"
	"sync"
	"time"

	"millrace/internal/outcome"
	"millrace/internal/sink"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
)

// Client sends bulks. It is safe for concurrent use.
type Client struct {
	transport *elastictransport.Client
	flavor    Flavor
	timeout   time.Duration
}

// bulkPath asks for nothing but what the outcome table needs: of a document
// that is fine its status, 25 bytes.
var bulkPath = "/_bulk?" + url.Values{"filter_path": {"errors,items.*.status,items.*.failure_store," +
	"items.*.error.type,items.*.error.reason,items.*.error.caused_by"}}.Encode()

// maxResponseSize bounds in bytes what is read of one response: thousands of
// documents with a long error each stay far below it.
const maxResponseSize = 64 << 20

// Do sends a bulk once. Every failure is in the result. When it returns, the
// bulk's memory is the caller's again.
func (c *Client) Do(ctx context.Context, b *sink.Bulk) sink.Result {
	if b.Len() == 0 {
		return sink.Result{}
	}
	start := time.Now()
	result := c.do(ctx, b)
	result.Overloaded = isOverloaded(result)
	result.Took = time.Since(start)
	result.Bytes = b.Size()
	count(result, b.Len())
	return result
}

func (c *Client) do(caller context.Context, b *sink.Bulk) sink.Result {
	ctx, cancel := context.WithTimeout(caller, c.timeout)
	lent := &lending{body: b.Body()}
	defer lent.readers.Wait()
	defer cancel() // the network lets go of the body, if it did not yet
	body := lent.open()
	defer func() {
		if !body.borrowed {
			_ = body.Close() // the transport does not
		}
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, bulkPath, body)
	if err != nil {
		return unanswered(caller, err)
	}
	request.ContentLength = int64(b.Size())
	request.GetBody = func() (io.ReadCloser, error) { return lent.open(), nil }
	request.Header.Set("Content-Type", "application/x-ndjson")
	response, err := c.transport.Perform(request)
	if err != nil {
		return unanswered(caller, err)
	}
	defer response.Body.Close()
	buffer := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	if _, err := buffer.ReadFrom(io.LimitReader(response.Body, maxResponseSize)); err != nil {
		return unanswered(caller, fmt.Errorf("read the bulk response: %w", err))
	}
	if response.StatusCode != http.StatusOK {
		return refused(response.StatusCode, buffer.Bytes())
	}
	items, err := readItems(buffer.Bytes(), b.Len())
	if err != nil {
		return unanswered(caller, err)
	}
	return sink.Result{Items: items}
}

// buffers keep the memory of responses; what is read from them is copied.
var buffers = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// unanswered is the result of a request without an answer.
func unanswered(caller context.Context, err error) sink.Result {
	r := sink.Result{Class: outcome.Transient, Error: outcome.Error{Type: noAnswer, Reason: err.Error()}}
	if caller.Err() != nil {
		r.Error.Type = canceled
		return r
	}
	var network *net.OpError
	dialing := errors.As(err, &network) && network.Op == "dial"
	var timeout net.Error
	r.TimedOut = !dialing &&
		(errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout())
	return r
}

// refused is the result of a request that was answered without items.
func refused(status int, body []byte) sink.Result {
	return sink.Result{
		Class: classifyRequest(status),
		Error: requestError(status, body),
		// Gateways say so of a body that took them too long.
		TimedOut: status == http.StatusGatewayTimeout || status == http.StatusRequestTimeout,
	}
}

// reasonSize bounds in bytes what is kept of an answer that is not JSON.
const reasonSize = 1024

// requestError reads the error of a whole request. A proxy may have written
// it, so it need not be JSON.
func requestError(status int, body []byte) outcome.Error {
	var parsed struct {
		Error outcome.Error `json:"error"`
	}
	if json.Unmarshal(body, &parsed) != nil || parsed.Error.Type == "" {
		parsed.Error = outcome.Error{Type: http.StatusText(status), Reason: string(body[:min(len(body), reasonSize)])}
	}
	parsed.Error.Status = status
	return parsed.Error
}

// count publishes the result of a bulk of n documents.
func count(r sink.Result, n int) {
	requestSeconds.WithLabelValues(r.Class.String()).Observe(r.Took.Seconds())
	requestBytes.Add(float64(r.Bytes))
	if r.Class != outcome.Indexed {
		return // of its documents nothing is known
	}
	for _, item := range r.Items {
		if item.Duplicate {
			documents.WithLabelValues("duplicate").Inc()
		} else {
			documents.WithLabelValues(item.Class.String()).Inc()
		}
	}
	documents.WithLabelValues(outcome.Indexed.String()).Add(float64(n - len(r.Items)))
}
