package api

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// refusal is the answer to a request of which nothing was taken.
type refusal struct {
	status   int // of HTTP
	reason   string
	retry    time.Duration // when to come again, where that may help
	accept   [2]string     // header that says what would have been accepted
	rejected []Rejection   // where every record was bad
}

// retrySeconds is what stands in Retry-After.
func (r *refusal) retrySeconds() int { return int(math.Ceil(max(1, r.retry.Seconds()))) }

// form is an encoding of a protocol: how a request is read, and answered in
// the same encoding.
type form struct {
	mediaType string // of the answer
	decode    func(*batch) error
	taken     func(*batch) (status int, body []byte)
	refused   func(*refusal) []byte
}

// answer is the JSON that our own protocol and the thundra agents get.
type answer struct {
	Error    string      `json:"error,omitempty"`
	Accepted int         `json:"accepted"`
	Rejected []Rejection `json:"rejected"`
}

// jsonForm answers in JSON, with a status of its own where records were taken.
func jsonForm(status int, decode func(*batch) error) *form {
	return &form{
		mediaType: "application/json",
		decode:    decode,
		taken: func(b *batch) (int, []byte) {
			return status, encode(answer{Accepted: len(b.records), Rejected: b.rejections()})
		},
		refused: jsonRefusal,
	}
}

func jsonRefusal(r *refusal) []byte {
	if len(r.rejected) > 0 {
		return encode(answer{Error: r.reason, Rejected: r.rejected})
	}
	return encode(struct {
		Error string `json:"error"`
	}{r.reason})
}

func encode(answer any) []byte {
	body, err := json.Marshal(answer)
	if err != nil { // cannot happen: answers are made of strings and integers
		panic(fmt.Sprintf("encode an answer: %v", err))
	}
	return append(body, '\n')
}

// write answers a request that was refused.
func (r *refusal) write(w http.ResponseWriter, f *form) {
	header := w.Header()
	switch r.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		header.Set("Retry-After", strconv.Itoa(r.retrySeconds()))
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", "Bearer")
	}
	if r.accept[0] != "" {
		header.Set(r.accept[0], r.accept[1])
	}
	writeBody(w, r.status, f.mediaType, f.refused(r))
}

func writeBody(w http.ResponseWriter, status int, mediaType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that misses the answer asks again
}
