// Package hostile has tenants that do harm to a collector, as careless or
// malicious clients can. Tests let them in beside an honest one.
package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Tenant is one that does harm, at a fixed rate.
type Tenant struct {
	Name, Does string
	// Attack goes on until ctx ends.
	Attack func(ctx context.Context, a *Attacker) error
}

// All are they. Their records together are far more than twice the honest
// tenant's at the default rate.
var All = []Tenant{
	{
		Name: "amplifier", Attack: Amplify,
		Does: "every 2 s one small body, compressed, that grows: by turns 1,000 spans that share a resource of 1.1 MiB, " +
			"5.2 million empty log records, a composite whose 1,000 records share 100 KiB, and over gRPC 1,000 spans that share 8 KiB",
	},
	{
		Name: "mute", Attack: BeSilent,
		Does: "100 requests at a time that announce 10 MiB and send nothing, 20 that send a byte a second, and 100 streams over gRPC without a message; each that is ended is begun anew a second later",
	},
	{
		Name: "historian", Attack: ScatterDates,
		Does: "50 records a second from random days of 2020 to 2034, of each type",
	},
	{
		Name: "impostor", Attack: Pretend,
		Does: "100 records a second that the index refuses, half of them with members that are named as those at the head of another tenant's record, or as Elasticsearch's own",
	},
	{
		Name: "flooder", Attack: Flood,
		Does: "every 30 s 20 posts of 1,000 records, within a second: four times the records that its quota has for one",
	},
}

// Choose returns the hostile tenants of these names; all without any.
func Choose(only []string) ([]Tenant, error) {
	if len(only) == 0 {
		return All, nil
	}
	var some []Tenant
	for _, name := range only {
		i := slices.IndexFunc(All, func(t Tenant) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--only: there is no hostile tenant %q", name)
		}
		some = append(some, All[i])
	}
	return some, nil
}

// Attacker is a hostile tenant at work.
type Attacker struct {
	url, grpc, key string
	victim         string // tenant
	client         *http.Client

	mu      sync.Mutex
	answers map[string]int // by what came back
}

// attemptWithin is how long a request waits for its answer.
const attemptWithin = 30 * time.Second

// New makes an attacker with a key. What it pretends to be is a victim's.
func New(url, grpc, key, victim string) *Attacker {
	return &Attacker{
		url: url, grpc: grpc, key: key, victim: victim, answers: map[string]int{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: attemptWithin},
	}
}

func (a *Attacker) answered(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[what]++
}

// Answers returns how often something was answered: a status of HTTP, "gRPC OK".
func (a *Attacker) Answers(what string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answers[what]
}

// Said tells what was answered, and how often.
func (a *Attacker) Said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(a.answers)) {
		all = append(all, fmt.Sprintf("%s ×%d", what, a.answers[what]))
	}
	return strings.Join(all, ", ")
}

// request is one that the collector can answer.
func (a *Attacker) request(ctx context.Context, path string, body io.Reader, header map[string]string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+path, body)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "ApiKey "+a.key)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	return request, nil
}

// post posts a body once. Whatever is answered is counted: a hostile client
// does not care.
func (a *Attacker) post(ctx context.Context, path string, body []byte, header map[string]string) error {
	request, err := a.request(ctx, path, bytes.NewReader(body), header)
	if err != nil {
		return err
	}
	response, err := a.client.Do(request)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		a.answered("no answer")
		return nil
	}
	_, _ = io.Copy(io.Discard, response.Body) // the status is what counts
	response.Body.Close()
	a.answered(strconv.Itoa(response.StatusCode))
	return nil
}

// every does something at once and then at each interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, do func(turn int) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		if err := do(turn); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
