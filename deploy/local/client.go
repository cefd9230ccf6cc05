package local

import (
	"net/http"
	"time"
)

// Client speaks with the servers of a stack and with what runs beside them. It ignores the settings of proxies, which are
// for downloads. Its connections are its own: each httptest.Server that closes also closes the idle connections of
// http.DefaultTransport, even those on which others have just begun a request.
var Client = NewClient()

// NewClient returns a client like Client with connections of its own.
func NewClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}}
}
