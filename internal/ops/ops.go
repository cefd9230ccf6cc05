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

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready   bool              `json:"ready"`
	Missing map[string]string `json:"missing,omitempty"` // dependency: why
}

// Handler serves /healthz, which answers while the process lives; /readyz,
// which answers 503 and names what is missing while a check fails; and
// /metrics for Prometheus.
func Handler(checks map[string]Check) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, Readiness{Ready: true}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		readiness := look(r.Context(), checks)
		status := http.StatusOK
		if !readiness.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, readiness)
	})
	mux.Handle("GET /metrics", promhttp.Handler())
	return mux
}

// look runs all checks at the same time.
func look(ctx context.Context, checks map[string]Check) Readiness {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	missing := map[string]string{}
	for name, check := range checks {
		group.Go(func() {
			if err := check(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				missing[name] = err.Error()
			}
		})
	}
	group.Wait()
	return Readiness{Ready: len(missing) == 0, Missing: missing}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked may have gone
}
