// Package awshttp keeps the connections of AWS clients alive.
//
// The SDK closes a request's body as soon as there is an answer, and from then
// on WriteTo of that body fails with io.EOF (smithy-go 1.28,
// transport/http/internal/io). net/http looks once more whether the body has
// ended; if the answer was quicker than that, it takes the failure for a
// broken request and closes the connection in the middle of the answer: a few
// calls in a hundred, against a server next door. What the call did is done,
// but the caller does not learn of it: messages stay hidden, records are put twice.
package awshttp

import (
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awstransport "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// Wrap returns a client whose requests have bodies that can only be read,
// which after Close is just their end. nil stands for the SDK's own client.
func Wrap(inner aws.HTTPClient) aws.HTTPClient {
	if inner == nil {
		inner = awstransport.NewBuildableClient()
	}
	return client{inner}
}

type client struct{ inner aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c client) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct {
			io.Reader
			io.Closer
		}{r.Body, r.Body}
	}
	return c.inner.Do(r)
}
