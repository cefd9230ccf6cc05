// Package ops serves what operators and their tools ask a process: whether it
// lives, whether it can work, and its metrics.
package ops

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"sync"
	"time"
)

// checkTimeout bounds one look at what a process depends on.
const checkTimeout = 3 * time.Second

// Check reports whether something that a process depends on works.
type Check func(ctx context.Context) error

// Checks are what a process depends on, by name.
type Checks struct {
	Required map[string]Check // without one of these it cannot work
	OneOf    map[string]Check // without all of these it cannot work, without some less well
	Optional map[string]Check // without one of these it works, but less well
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready    bool              `json:"ready"`
	Missing  map[string]string `json:"missing,omitempty"`  // required dependency: why
	Degraded map[string]string `json:"degraded,omitempty"` // optional dependency: why
}

// Handler serves operators: /healthz, which answers while the process lives;
// /readyz, which names what is missing, and answers 503 while that is required;
// and /metrics for Prometheus.
func Handler(checks Checks) http.Handler {
	mux := probes(checks.readiness)
	mux.Handle("GET /metrics", metrics(checks))
	return mux
}

// Probes serves /healthz and /readyz to strangers, such as load balancers and
// agents: the answer is yes or no, and names no dependency and no error.
func Probes(checks Checks) http.Handler {
	return probes(func(ctx context.Context) Readiness {
		return Readiness{Ready: checks.readiness(ctx).Ready}
	})
}

func probes(readiness func(context.Context) Readiness) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"alive": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		now, status := readiness(r.Context()), http.StatusOK
		if !now.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, now)
	})
	return mux
}

// readiness makes all checks at the same time.
func (c Checks) readiness(ctx context.Context) (r Readiness) {
	var group sync.WaitGroup
	var lost map[string]string
	group.Go(func() { r.Missing = look(ctx, c.Required) })
	group.Go(func() { lost = look(ctx, c.OneOf) })
	group.Go(func() { r.Degraded = look(ctx, c.Optional) })
	group.Wait()
	if len(lost) < len(c.OneOf) {
		maps.Copy(r.Degraded, lost)
	} else {
		maps.Copy(r.Missing, lost)
	}
	r.Ready = len(r.Missing) == 0
	return r
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

// againSoon is how long a check that failed is not made again.
const againSoon = time.Second

// Seldom makes a check at most once in an interval while it succeeds, and once
// a second while it fails: services limit how often they are asked.
func Seldom(interval time.Duration, check Check) Check {
	var mu sync.Mutex
	var last error
	var due time.Time
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().Before(due) {
			return last
		}
		wait := interval
		if last = check(ctx); last != nil {
			wait = min(interval, againSoon)
		}
		due = time.Now().Add(wait)
		return last
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}
