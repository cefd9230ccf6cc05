package canary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"millrace/internal/index"
	"millrace/internal/longcall"
	"millrace/internal/telemetry"
)

// DefaultWithin is how long a record may take from its post until it can be searched:
// five times what refreshes of the index cost at the most, and a pipeline that is late.
const DefaultWithin = 30 * time.Second

// lookEvery is how often a record is searched for, and so how exact its time is.
const lookEvery = 500 * time.Millisecond

// Documents are where records can be searched. See index.Client.
type Documents interface {
	ReadyForCanary(ctx context.Context) error
	Search(ctx context.Context, wanted index.Wanted, most int) (index.Matches, error)
	Indices(ctx context.Context, patterns ...string) (map[string]index.State, error)
	DeleteIndex(ctx context.Context, name string) error
}

// Prober is what the activities need. It is made by New.
type Prober struct {
	collectors map[string]string // URLs by region
	key        string
	documents  Documents
	client     *http.Client
}

// New makes a Prober that posts with an API key to the collectors of some regions, and
// publishes that it is there. URLs have no path.
func New(collectors map[string]string, key string, documents Documents) *Prober {
	for region := range collectors {
		announce(region)
	}
	return &Prober{collectors: collectors, key: key, documents: documents, client: newClient()}
}

// ProbeInput is the input of ProbeCollectors.
type ProbeInput struct {
	Within time.Duration `json:"within"` // from a post until its record can be searched
}

// What becomes of a record.
const (
	Searchable = "searchable" // in time
	Refused    = "refused"    // the collector has not taken it
	Late       = "late"       // it was taken, and could not be searched in time
)

// Probe is what became of the record that was posted to the collector of a region.
type Probe struct {
	Region  string  `json:"region"`
	ID      string  `json:"id"`                // of the record
	Request string  `json:"request,omitempty"` // as the collector named it
	Result  string  `json:"result"`            // Searchable, Refused or Late
	Seconds float64 `json:"seconds,omitempty"` // until it could be searched
	Error   string  `json:"error,omitempty"`
}

// String says it for operators.
func (p Probe) String() string {
	switch p.Result {
	case Searchable:
		return fmt.Sprintf("%s: searchable after %.1f s", p.Region, p.Seconds)
	case Late:
		return fmt.Sprintf("%s: record %s is late: %s", p.Region, p.ID, p.Error)
	}
	return fmt.Sprintf("%s: %s: %s", p.Region, p.Result, p.Error)
}

// Report is the result of ProbeCollectors.
type Report struct {
	Probes  []Probe  `json:"probes"`            // by region
	Expired []string `json:"expired,omitempty"` // indices whose records are all older than KeptFor
}

// Failed are the probes whose record could not be searched in time.
func (r Report) Failed() []Probe {
	return slices.DeleteFunc(slices.Clone(r.Probes), func(p Probe) bool { return p.Result == Searchable })
}

// ProbeCollectors posts one record to each collector, at the same time, and waits until
// each can be searched, or is late. It fails only where nothing can be said of the
// pipeline, and counts nothing then: the worker stops, or the index has no template.
func (p *Prober) ProbeCollectors(ctx context.Context, in ProbeInput) (Report, error) {
	if err := p.documents.ReadyForCanary(ctx); errors.Is(err, index.ErrNoTemplates) { // other errors are what a probe is for
		return Report{}, fmt.Errorf("run `starter setup`: %w", err)
	}
	defer longcall.Heartbeat(ctx, func() any { return nil })()
	going, stop := longcall.WithWorkerStop(ctx)
	defer stop()
	report := Report{Probes: make([]Probe, len(p.collectors))}
	var group sync.WaitGroup
	for i, region := range slices.Sorted(maps.Keys(p.collectors)) {
		group.Go(func() { report.Probes[i] = p.probe(going, region, in.Within) })
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("probe the collectors: %w", err)
	}
	if going.Err() != nil { // another worker begins anew
		return Report{}, fmt.Errorf("probe the collectors: %w", longcall.ErrWorkerStopping)
	}
	for _, probe := range report.Probes {
		probe.count()
		if probe.Result != Searchable {
			slog.WarnContext(ctx, "the canary failed", "region", probe.Region, "result", probe.Result, "id", probe.ID, "request", probe.Request, "error", probe.Error)
		}
	}
	var err error
	if report.Expired, err = p.expired(ctx); err != nil { // the next run looks again
		slog.WarnContext(ctx, "cannot look for old indices of the canary", "error", err)
	}
	return report, nil
}

// probe posts a record and waits until it can be searched.
func (p *Prober) probe(ctx context.Context, region string, within time.Duration) Probe {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	made := Probe{Region: region, ID: uuid.NewString(), Result: Refused}
	var err error
	if made.Request, err = p.post(ctx, p.collectors[region], made.ID, began); err == nil {
		made.Result = Late
		err = p.awaitSearchable(ctx, made.ID)
	}
	if err != nil {
		const most = 500 // characters, of a history that is to stay small
		made.Error = fmt.Sprintf("%.*s", most, err.Error())
		return made
	}
	made.Result, made.Seconds = Searchable, time.Since(began).Seconds()
	return made
}

// awaitSearchable waits until a search finds a record, as those of readers would.
func (p *Prober) awaitSearchable(ctx context.Context, id string) error {
	wanted := index.Wanted{Tenant: telemetry.CanaryTenant, ID: id}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := errNotFound
	for {
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
		found, err := p.documents.Search(ctx, wanted, 1)
		switch {
		case len(found.Documents) > 0:
			return nil
		case ctx.Err() != nil: // which is all that this search says
		case err != nil:
			last = err
		case len(found.Gaps) > 0:
			last = fmt.Errorf("%w; not searched: %s", errNotFound, strings.Join(found.Gaps, ", "))
		default:
			last = errNotFound
		}
	}
}

var errNotFound = errors.New("no search finds it")
