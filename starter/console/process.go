package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Kinds of processes.
const (
	Collector = "collector"
	Worker    = "worker"
)

// Target is a process whose /metrics are read.
type Target struct {
	Kind string // Collector or Worker
	URL  string // of its server for operators
}

// Process is how it answers.
type Process struct {
	Kind    string    `json:"kind"`
	Address string    `json:"address"` // host and port
	Region  string    `json:"region,omitempty"`
	Missing []string  `json:"missing,omitempty"` // dependencies that do not work for it
	At      time.Time `json:"at,omitzero"`       // of the last answer
	Error   string    `json:"error,omitempty"`
	Since   time.Time `json:"since,omitzero"` // since when it does not answer
}

const (
	// window is the time over which rates and quantiles are taken, at least.
	window = 10 * time.Second
	// staleAfter is how old the last answer of a process may be for its rates to count, and goneAfter how long it may fail.
	staleAfter = 3 * window
	goneAfter  = 5 * time.Second
)

// sample is what a process told at a moment.
type sample struct {
	at time.Time
	figures
}

// process is one whose /metrics are read.
type process struct {
	Target
	part    Part[figures]
	samples []sample           // of the window, and the last one before it
	total   map[string]float64 // how much the counters have grown since the console started
}

func newProcess(t Target) *process { return &process{Target: t, total: map[string]float64{}} }

// scrape reads /metrics of a process.
func (w *Watch) scrape(ctx context.Context, p *process) (figures, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.URL, "/")+"/metrics", nil)
	if err != nil {
		return figures{}, errors.New("its address is no URL")
	}
	response, err := w.client.Do(request)
	if err != nil {
		var of *url.Error // its text has the address, in which a password may be
		if errors.As(err, &of) {
			err = of.Err
		}
		return figures{}, fmt.Errorf("ask for /metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return figures{}, fmt.Errorf("/metrics answered %s", response.Status)
	}
	f, err := read(response.Body)
	if err == nil {
		w.enter(func() { p.add(sample{time.Now(), f}) })
	}
	return f, err
}

// add enters a sample, and forgets those that no window needs.
func (p *process) add(s sample) {
	if n := len(p.samples); n > 0 {
		for name, value := range s.counters {
			p.total[name] += grown(p.samples[n-1].counters[name], value)
		}
	}
	p.samples = append(p.samples, s)
	for len(p.samples) > 2 && s.at.Sub(p.samples[1].at) >= window {
		p.samples = p.samples[1:]
	}
}

// span is the first and the last sample of the window; false if rates are not known.
func (p *process) span(now time.Time) (from, to sample, known bool) {
	if len(p.samples) < 2 || p.part.Error != "" && now.Sub(p.part.Since) > goneAfter {
		return from, to, false
	}
	from, to = p.samples[0], p.samples[len(p.samples)-1]
	return from, to, now.Sub(to.at) < staleAfter && to.at.After(from.at)
}

// rate is how much a counter grows a second.
func (p *process) rate(name string, now time.Time) (float64, bool) {
	from, to, known := p.span(now)
	if !known {
		return 0, false
	}
	return grown(from.counters[name], to.counters[name]) / to.at.Sub(from.at).Seconds(), true
}

// spread adds to buckets what a distribution has got in the window.
func (p *process) spread(name string, now time.Time, buckets map[float64]float64) {
	from, to, known := p.span(now)
	if !known {
		return
	}
	begun := false // anew: then what it has is all of the window
	for bound, count := range to.buckets[name] {
		begun = begun || count < from.buckets[name][bound]
	}
	for bound, count := range to.buckets[name] {
		if !begun {
			count -= from.buckets[name][bound]
		}
		buckets[bound] += count
	}
}

// host is an address without what may be secret in it.
func (p *process) host() string {
	if parsed, err := url.Parse(p.URL); err == nil && parsed.Host != "" {
		return parsed.Host
	}
	return "an address that is no URL"
}

// show is what the page shows of it.
func (p *process) show() Process {
	return Process{
		Kind: p.Kind, Address: p.host(), Region: p.part.Value.region, Missing: p.part.Value.missing,
		At: p.part.At, Error: p.part.Error, Since: p.part.Since,
	}
}
