// Package ops serves what operators and their tools ask a process: whether it
// lives, whether it can work, and its metrics.
package ops

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkTimeout bounds one look at what a process depends on.
const checkTimeout = 3 * time.Second

// Check reports whether something that a process depends on works.
type Check func(ctx context.Context) error

// Checks are what a process depends on, by name.
type Checks struct {
	Required map[string]Check // without one of these it cannot work
	Optional map[string]Check // without one of these it works, but less well
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready    bool              `json:"ready"`
	Missing  map[string]string `json:"missing,omitempty"`  // required dependency: why
	Degraded map[string]string `json:"degraded,omitempty"` // optional dependency: why
}

// Handler serves /healthz, which answers while the process lives; /readyz,
// which names what is missing, and answers 503 while that is required; and
// /metrics for Prometheus.
func Handler(checks Checks) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"alive": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		readiness := Readiness{Missing: look(r.Context(), checks.Required), Degraded: look(r.Context(), checks.Optional)}
		readiness.Ready = len(readiness.Missing) == 0
		status := http.StatusOK
		if !readiness.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, readiness)
	})
	mux.Handle("GET /metrics", promhttp.Handler())
	return mux
}

// look runs checks at the same time, and returns why those failed that did.
func look(ctx context.Context, checks map[string]Check) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	failed := map[string]string{}
	for name, check := range checks {
		group.Go(func() {
			if err := check(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[name] = err.Error()
			}
		})
	}
	group.Wait()
	return failed
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked may have gone
}
