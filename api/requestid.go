package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"millrace/internal/requestid"
)

// requestIDHeader is the header, and over gRPC the metadata, that names a request.
const requestIDHeader = "X-Request-Id"

// requests gives each request an id.
type requests struct {
	collector string
	count     atomic.Uint64
}

func (r *requests) next() *requestid.ID {
	return &requestid.ID{At: time.Now().UTC(), Collector: r.collector, Number: r.count.Add(1)}
}

// newCollectorID names this process in the ids of its requests. It says nothing of the
// host, since agents see it: the log has both.
func newCollectorID() string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// Collector names this process in the ids of its requests.
func (s *Server) Collector() string { return s.requests.collector }

func setRequestID(w http.ResponseWriter, id *requestid.ID) {
	w.Header().Set(requestIDHeader, id.String())
}

// logAnswer enters an answer in the log: in detail only, since there may be thousands
// a second.
func logAnswer(ctx context.Context, id *requestid.ID, protocol string, status int) {
	slog.DebugContext(ctx, "answered a request", "request", id, "protocol", protocol, "status", status)
}
