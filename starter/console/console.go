package console

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// The defaults of Settings, and what is asked less often than that.
const (
	DefaultEvery  = 2 * time.Second
	DefaultWithin = 10 * time.Second

	temporalEvery = 5 * time.Second
	checksEvery   = 15 * time.Second
	historyEvery  = 15 * time.Second
	bucketEvery   = time.Minute

	// idleAfter is how long after the last look of a page only /metrics is read.
	idleAfter = 30 * time.Second
)

// Settings say what is watched, and how.
type Settings struct {
	Stream, Namespace, TemporalUI string        // see State
	Workflows                     []Workflow    // that are to run all the time
	Every                         time.Duration // between two looks at /metrics; other sources may be asked less often
	Within                        time.Duration // which a source must answer
}

// Sources answer what the page shows. One that is nil is not asked. None may change
// anything.
type Sources struct {
	Targets    []Target
	Shards     func(context.Context) (Shards, error)
	Queue      func(context.Context) (Queue, error)
	Letters    func(context.Context) (DeadLetters, error)
	Backup     func(context.Context) (Backup, error)
	Snapshots  func(context.Context) (Snapshots, error)
	Recoveries func(context.Context) ([]Recovery, error)
	Residual   func(context.Context) (Residual, error)
	Checks     func(context.Context) ([]Finding, error)
	History    func(context.Context) ([]Point, error) // of a Prometheus
}

// Watch asks the sources, and knows what they said.
type Watch struct {
	settings Settings
	sources  Sources
	started  time.Time
	client   *http.Client // for /metrics

	mu        sync.Mutex
	state     State // what the sources said; State fills the rest in
	processes []*process
	points    []Point              // of the console's own history
	since     map[string]time.Time // when a problem was first seen, by its key
	seen      time.Time            // when a page last looked
	wake      chan struct{}        // closed when one looks
}

// New makes a watch that has asked nothing yet.
func New(s Settings, sources Sources) *Watch {
	w := &Watch{
		settings: s, sources: sources, started: time.Now(), seen: time.Now(), wake: make(chan struct{}), since: map[string]time.Time{},
		client: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1}},
	}
	for _, t := range sources.Targets {
		w.processes = append(w.processes, newProcess(t))
	}
	return w
}

// Run asks the sources until the context ends.
func (w *Watch) Run(ctx context.Context) {
	var group errgroup.Group
	at := func(every time.Duration) time.Duration { return max(every, w.settings.Every) }
	for _, p := range w.processes {
		group.Go(func() error {
			follow(ctx, w, &p.part, w.settings.Every, true, func(ctx context.Context) (figures, error) { return w.scrape(ctx, p) })
			return nil
		})
	}
	group.Go(func() error { w.remember(ctx); return nil })
	s := &w.state
	start(ctx, &group, w, &s.Shards, at(temporalEvery), w.sources.Shards)
	start(ctx, &group, w, &s.Queue, at(temporalEvery), w.sources.Queue)
	start(ctx, &group, w, &s.Backup, at(temporalEvery), w.sources.Backup)
	start(ctx, &group, w, &s.Recoveries, at(temporalEvery), w.sources.Recoveries)
	start(ctx, &group, w, &s.Residual, at(checksEvery), w.sources.Residual)
	start(ctx, &group, w, &s.Checks, at(checksEvery), w.sources.Checks)
	start(ctx, &group, w, &s.History, at(historyEvery), w.sources.History)
	start(ctx, &group, w, &s.Letters, at(bucketEvery), w.sources.Letters)
	start(ctx, &group, w, &s.Snapshots, at(bucketEvery), w.sources.Snapshots)
	_ = group.Wait() // none fails
}

// start follows a source if there is one.
func start[T any](ctx context.Context, group *errgroup.Group, w *Watch, part *Part[T], every time.Duration, ask func(context.Context) (T, error)) {
	if ask == nil {
		w.enter(func() { part.Off = "it was not configured" })
		return
	}
	group.Go(func() error { follow(ctx, w, part, every, false, ask); return nil })
}

func (w *Watch) enter(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// await waits for an interval, and then until a page looks, unless always. It is false once
// the context ends.
func (w *Watch) await(ctx context.Context, interval time.Duration, always bool) bool {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	for !always {
		w.mu.Lock()
		idle, wake := time.Since(w.seen) > idleAfter, w.wake
		w.mu.Unlock()
		if !idle {
			break
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// State is what is known at this moment, with the delay of a region, or of all if that is
// empty. To ask for it wakes the sources.
func (w *Watch) State(region string) State {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(w.seen) > idleAfter { // what was wrong then may have been right in between
		clear(w.since)
	}
	w.seen = now
	close(w.wake)
	w.wake = make(chan struct{})
	s := w.state
	s.At, s.Started, s.Every = now, w.started, w.settings.Every.Seconds()
	s.Stream, s.Namespace, s.TemporalUI, s.Workflows = w.settings.Stream, w.settings.Namespace, w.settings.TemporalUI, w.settings.Workflows
	w.flow(&s, now)
	w.delay(&s, now)
	s.Problems = w.problems(&s, now)
	s.Nodes = map[string]Level{}
	for _, p := range s.Problems {
		if worst, known := s.Nodes[p.Node]; p.Node != "" && (!known || p.Level.worse(worst)) {
			s.Nodes[p.Node] = p.Level
		}
	}
	if region != "" { // problems are of all
		s.Delay = s.Delay.of(region)
		s.Delay.P50, s.Delay.P99 = w.quantiles(now, delays+"/"+region)
	}
	return s
}
