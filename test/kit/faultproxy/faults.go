package faultproxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"
)

// Answer answers in the service's place; the service sees nothing.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

func (a Answer) serve(w http.ResponseWriter, r *http.Request, _ http.Handler) int {
	_, _ = io.Copy(io.Discard, r.Body)
	for key, values := range a.Header {
		w.Header()[key] = values
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body)
	return 0
}

// AWSError is how a service of AWS with a JSON protocol refuses a call.
func AWSError(status int, code string) Answer {
	return Answer{
		Status: status,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amzn-Errortype": {code}},
		Body:   `{"__type":"` + code + `","message":"by the fault proxy"}`,
	}
}

// Throttle is what Kinesis says to a call beyond a shard's limits.
func Throttle() Answer {
	return AWSError(http.StatusBadRequest, "ProvisionedThroughputExceededException")
}

// Delay passes the call on, and its answer late.
type Delay struct {
	Before, After time.Duration // the service sees the call
	// Holding counts the calls and answers that are held back at the moment.
	Holding *atomic.Int64
}

func (d Delay) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	d.hold(r, d.Before)
	answer := record(r, forward)
	d.hold(r, d.After)
	replay(w, answer, len(answer.Body.Bytes()))
	return 0
}

func (d Delay) hold(r *http.Request, by time.Duration) {
	if d.Holding != nil && by > 0 {
		d.Holding.Add(1)
		defer d.Holding.Add(-1)
	}
	hold(r, by)
}

// Truncate passes the call on, and of its answer a share, 0 to 1, before the
// connection breaks.
type Truncate struct{ Keep float64 }

func (t Truncate) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	answer := record(r, forward)
	replay(w, answer, int(t.Keep*float64(answer.Body.Len())))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// Applied passes the call on, and breaks the connection instead of the answer,
// after a while in which the caller may time out.
type Applied struct{ After time.Duration }

func (a Applied) serve(_ http.ResponseWriter, r *http.Request, forward http.Handler) int {
	record(r, forward)
	hold(r, a.After)
	panic(http.ErrAbortHandler)
}

// Reset breaks the connection; the service sees nothing.
type Reset struct{}

func (Reset) serve(http.ResponseWriter, *http.Request, http.Handler) int {
	panic(http.ErrAbortHandler)
}

// hold waits, or until the caller has gone.
func hold(r *http.Request, d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-r.Context().Done():
	case <-time.After(d):
	}
}

// record passes a call on and keeps the answer.
func record(r *http.Request, forward http.Handler) *httptest.ResponseRecorder {
	// The recorder gets the whole body at once, so that the service is not
	// cut off where the caller gives up.
	r.Body = io.NopCloser(bytes.NewReader(readBody(r)))
	answer := httptest.NewRecorder()
	forward.ServeHTTP(answer, r)
	return answer
}

// replay gives the first bytes of an answer, under the header of the whole.
func replay(w http.ResponseWriter, answer *httptest.ResponseRecorder, bytes int) {
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()[:bytes])
}
