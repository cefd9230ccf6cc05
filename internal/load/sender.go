package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// Settings are how a Sender posts. A zero field takes its default.
type Settings struct {
	URL         string        `help:"Address of the collector." default:"http://127.0.0.1:8080" env:"MILLRACE_COLLECTOR_URL"`
	Key         string        `help:"API key of a tenant." env:"MILLRACE_KEY"`
	Records     uint64        `help:"Records to post; 0: until --for is over." default:"0"`
	For         time.Duration `help:"How long to post; 0: until all records are posted." default:"0s"`
	Rate        float64       `help:"Records a second; 0: as fast as possible." default:"0"`
	Connections int           `help:"Concurrent connections." default:"8"`
	PerPost     int           `help:"Records per post." default:"10"`
	Duplicates  float64       `help:"Share of records, from 0 to 1, to post twice." default:"0"`
	Protocol    Protocol      `help:"telemetry (our own) or otlp (spans over OTLP/HTTP)." enum:"telemetry,otlp" default:"telemetry"`
	GiveUpAfter time.Duration `help:"How long to retry a post." default:"2m"`
	First       uint64        `kong:"-"` // number of the first record
}

// Defaults of Settings.
const (
	DefaultConnections = 8
	DefaultPerPost     = 10
	DefaultGiveUpAfter = 2 * time.Minute
)

// Protocol is what a Sender posts.
type Protocol string

// The protocols of a Sender.
const (
	Telemetry Protocol = "telemetry" // JSON array to /v1/telemetry
	OTLP      Protocol = "otlp"      // spans, protobuf, to /v1/traces
)

func (s Settings) withDefaults() Settings {
	if s.Connections == 0 {
		s.Connections = DefaultConnections
	}
	if s.PerPost == 0 {
		s.PerPost = DefaultPerPost
	}
	if s.GiveUpAfter == 0 {
		s.GiveUpAfter = DefaultGiveUpAfter
	}
	if s.Protocol == "" {
		s.Protocol = Telemetry
	}
	return s
}

// Validate reports settings that cannot work.
func (s Settings) Validate() error {
	var errs []error
	if u, err := url.Parse(s.URL); err != nil || u.Host == "" {
		errs = append(errs, errors.New("--url: not an address"))
	}
	if s.Records == 0 && s.For == 0 {
		errs = append(errs, errors.New("--records or --for: say when to end"))
	}
	if s.Rate < 0 || s.Connections < 0 || s.PerPost < 0 || s.Duplicates < 0 || s.Duplicates > 1 {
		errs = append(errs, errors.New("a number is out of its range"))
	}
	return errors.Join(errs...)
}

// duplicateReach is how far back, in records, a duplicate may lie.
const duplicateReach = 20_000

// Sender posts the records of a Source and keeps what was accepted.
type Sender struct {
	Source   *Source
	Accepted Set       // numbers answered 2xx
	Latency  Histogram // of posts answered 2xx, the last attempt alone
	// Answered is called for each record that was answered 2xx for the first time,
	// with the times of its post and of the answer. It may be nil, and is called
	// concurrently.
	Answered func(n uint64, sent, answered time.Time)

	settings Settings
	client   *http.Client
	pace     *rate.Limiter
	next     atomic.Uint64 // records that posters took, and may go past Settings.Records
	counts   counts
	trouble  atomic.Pointer[string]
	stopping chan struct{} // is closed by Stop
	stop     sync.Once
}

type counts struct{ posts, resent, resentBad, retries, refused, givenUp atomic.Uint64 }

// Counts is what a Sender has done so far.
type Counts struct {
	Posted     uint64 // records that were made, distinct
	Accepted   uint64 // of them, answered 2xx
	Duplicates uint64 // records answered 2xx although they had been before
	BadAgain   uint64 // of Duplicates, bad records: no index ever has the first
	Posts      uint64 // requests answered 2xx
	Retries    uint64 // attempts that were made again
	Refused    uint64 // records that the collector will not have
	GivenUp    uint64 // records of posts that were never answered 2xx: whether they were taken is open
}

// NewSender returns a Sender for one Run. Settings must be valid.
func NewSender(source *Source, settings Settings) *Sender {
	settings = settings.withDefaults()
	transport := &http.Transport{
		MaxIdleConns: settings.Connections, MaxIdleConnsPerHost: settings.Connections,
		// As http.DefaultTransport: sooner than a collector closes them, or a post may meet a connection that just closes.
		IdleConnTimeout: 90 * time.Second,
	}
	limit := rate.Inf
	if settings.Rate > 0 {
		limit = rate.Limit(settings.Rate)
	}
	return &Sender{
		Source: source, settings: settings, stopping: make(chan struct{}),
		client: &http.Client{Transport: transport, Timeout: attemptTimeout},
		pace:   rate.NewLimiter(limit, max(settings.PerPost, int(settings.Rate/100))),
	}
}

// Counts returns what was done so far.
func (s *Sender) Counts() Counts {
	posted := s.next.Load()
	if s.settings.Records > 0 {
		posted = min(posted, s.settings.Records)
	}
	return Counts{
		Posted: posted, Accepted: s.Accepted.Len(), Duplicates: s.counts.resent.Load(), BadAgain: s.counts.resentBad.Load(),
		Posts: s.counts.posts.Load(), Retries: s.counts.retries.Load(), Refused: s.counts.refused.Load(), GivenUp: s.counts.givenUp.Load(),
	}
}

// Trouble says how the last attempt ended that was not answered 2xx; it is empty
// if there was none.
func (s *Sender) Trouble() string {
	if last := s.trouble.Load(); last != nil {
		return *last
	}
	return ""
}

// SetRate changes how many records a second are posted, which Settings must
// limit.
func (s *Sender) SetRate(records float64) { s.pace.SetLimit(rate.Limit(records)) }

// Stop ends a Run as if its time were over.
func (s *Sender) Stop() { s.stop.Do(func() { close(s.stopping) }) }

// Run posts until all records are posted or the time is over, and lets posts
// in flight come to their end; when ctx ends it gives them up. A collector
// that cannot be reached is no error: it is tried again, and counted. The
// error is the first answer that shows a mistake of the caller, such as an
// unknown key.
func (s *Sender) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	enough := make(<-chan time.Time)
	if s.settings.For > 0 {
		timer := time.NewTimer(s.settings.For)
		defer timer.Stop()
		enough = timer.C
	}
	making, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-enough:
			stop()
		case <-s.stopping:
			stop()
		case <-making.Done():
		}
	}()
	group, ctx := errgroup.WithContext(ctx)
	for i := range s.settings.Connections {
		group.Go(func() error {
			p := poster{Sender: s, random: rand.New(rand.NewPCG(uint64(i), 4))}
			for p.take(making) {
				if err := p.post(ctx); err != nil {
					stop()
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("post telemetry: %w", err)
	}
	return nil
}

// poster is one connection.
type poster struct {
	*Sender
	random  *rand.Rand
	numbers []uint64
	body    []byte
}

// take waits for its turn and chooses the records of the next post.
func (p *poster) take(ctx context.Context) bool {
	if p.pace.WaitN(ctx, p.settings.PerPost) != nil || ctx.Err() != nil {
		return false
	}
	// All of a post at once, so that posts are full, however many connections take some.
	end := p.next.Add(uint64(p.settings.PerPost))
	begin := end - uint64(p.settings.PerPost)
	if p.settings.Records > 0 {
		end = min(end, p.settings.Records)
	}
	p.numbers = p.numbers[:0]
	for made := begin; made < end; made++ {
		// What a post holds beside its duplicates is new, so that the share
		// is that of records posted a second time.
		n := p.settings.First + made
		p.numbers = append(p.numbers, n)
		if p.settings.Duplicates > 0 && p.random.Float64() < p.settings.Duplicates {
			p.numbers = append(p.numbers, n-p.random.Uint64N(min(made, duplicateReach)+1))
		}
	}
	return len(p.numbers) > 0
}
