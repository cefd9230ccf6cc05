package batching

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"millrace/internal/requestid"
	"millrace/internal/tracing"
)

// ErrUnavailable says that records are not durable, or not known to be: the
// agent is to send them again, later.
var ErrUnavailable = errors.New("telemetry cannot be made durable at present")

const (
	// promptBytes is how much of a tenant may wait for an answer before its further
	// records yield to those of other tenants: about one full batch.
	promptBytes = 256 << 10

	// othersStay is how long after a call of another tenant a tenant still yields:
	// agents export every few seconds.
	othersStay = time.Minute
)

// Batcher groups records of concurrent calls into batches. A flood of one tenant
// goes in batches of its own, a few at a time, so that it delays no other tenant; a
// tenant that posts alone has all of InFlight. It is safe for concurrent use.
type Batcher struct {
	settings Settings
	sender   sender

	prompt, yielding line
	places           *places // for batches of either line
	waiting          waiting
	pending          *semaphore.Weighted // bytes that wait for an answer
	closing          chan struct{}
	work             sync.WaitGroup
}

// line is a queue of parts that share batches.
type line struct {
	parts  chan *part
	yields bool
}

// New makes a Batcher, which runs until it is closed. Settings must be valid.
func New(settings Settings, starter Starter, direct Intake) *Batcher {
	settings = settings.withDefaults()
	b := &Batcher{
		settings: settings,
		sender:   sender{settings: settings, starter: starter, direct: direct},
		prompt:   line{parts: make(chan *part)},
		yielding: line{parts: make(chan *part), yields: true},
		places:   newPlaces(settings.InFlight),
		waiting:  waiting{bytes: map[string]int{}},
		pending:  semaphore.NewWeighted(int64(settings.PendingBytes)),
		closing:  make(chan struct{}),
	}
	for _, l := range []line{b.prompt, b.yielding} {
		b.work.Go(func() { b.collect(l) })
	}
	return b
}

// Close ends the Batcher when all it has taken is answered. Calls of Ingest
// that come later fail.
func (b *Batcher) Close() {
	close(b.closing)
	b.work.Wait()
}

// part is what one call gives to one batch.
type part struct {
	records [][]byte
	size    int        // in bytes
	span    trace.Span // of the request that it is of
	done    chan outcome
}

// outcome is what became of a batch.
type outcome struct {
	batch requestid.Batch
	err   error
}

// waiting counts the bytes of each tenant that wait for an answer. It is safe for
// concurrent use.
type waiting struct {
	mu     sync.Mutex
	bytes  map[string]int // without those that have none
	last   string         // the tenant of the last call
	turned time.Time      // when that was not the tenant of the call before
}

// enter adds a call of a tenant, and reports whether it yields to other tenants.
func (w *waiting) enter(tenant string, bytes int) (yields bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.last != tenant && w.last != "" {
		w.turned = now
	}
	w.last = tenant
	w.bytes[tenant] += bytes
	return w.bytes[tenant] > promptBytes && now.Sub(w.turned) < othersStay
}

// leave removes a call that is answered.
func (w *waiting) leave(tenant string, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes[tenant] -= bytes; w.bytes[tenant] == 0 {
		delete(w.bytes, tenant)
	}
}

// Ingest returns when all records of a tenant are durable, and in which batches. The
// error wraps ErrUnavailable; some of them may be durable all the same, and to send them again
// does no harm. The records' memory is the caller's again when it returns; so once
// a batch has them, it does not return before that is answered, even if ctx ends.
func (b *Batcher) Ingest(ctx context.Context, tenant string, records [][]byte) ([]requestid.Batch, error) {
	size := 0
	for _, r := range records {
		size += len(r)
	}
	line := b.prompt
	if b.waiting.enter(tenant, size) {
		line = b.yielding
	}
	defer b.waiting.leave(tenant, size)
	var parts []*part
	var failed error
	span := trace.SpanFromContext(ctx)
	for _, p := range b.split(records) {
		p.span = span
		if !b.pending.TryAcquire(int64(p.size)) {
			failed = errors.New("too much is waiting for an answer already")
			shedRecords.Add(float64(len(p.records)))
			break
		}
		select {
		case line.parts <- p:
			parts = append(parts, p)
			continue
		case <-b.closing:
			failed = errors.New("the collector is stopping")
		case <-ctx.Done():
			failed = context.Cause(ctx)
		}
		b.pending.Release(int64(p.size))
		break
	}
	batches := make([]requestid.Batch, 0, len(parts))
	for _, p := range parts {
		became := <-p.done
		failed = errors.Join(failed, became.err)
		batches = append(batches, became.batch)
	}
	if failed != nil {
		return batches, fmt.Errorf("%w: %w", ErrUnavailable, failed)
	}
	return batches, nil
}

// split cuts the records of a call into parts that fit into a batch.
func (b *Batcher) split(records [][]byte) (parts []*part) {
	next := &part{}
	for _, r := range records {
		if len(next.records) == b.settings.BatchRecords || len(next.records) > 0 && next.size+len(r) > b.settings.BatchBytes {
			parts = append(parts, next)
			next = &part{}
		}
		next.records, next.size = append(next.records, r), next.size+len(r)
	}
	if len(next.records) > 0 {
		parts = append(parts, next)
	}
	for _, p := range parts {
		p.done = make(chan outcome, 1)
	}
	return parts
}

// batch is what goes on its way together.
type batch struct {
	parts   []*part
	records int
	size    int
}

func (b *batch) add(p *part) {
	b.parts, b.records, b.size = append(b.parts, p), b.records+len(p.records), b.size+p.size
}

func (b *Batcher) fits(next batch, p *part) bool {
	return next.records == 0 || next.records+len(p.records) <= b.settings.BatchRecords && next.size+p.size <= b.settings.BatchBytes
}

// collect fills one batch of a line after the other. A batch goes when it has
// lingered, or is full, and there is a place for it; while there is none, it goes on growing.
func (b *Batcher) collect(of line) {
	linger := time.NewTimer(b.settings.Linger)
	linger.Stop()
	free := b.places.free
	if of.yields {
		free = b.places.few
	}
	var next batch
	ripe := false
	take := func(p *part) {
		if next.add(p); next.records == len(p.records) {
			linger.Reset(b.settings.Linger)
		}
		ripe = ripe || next.records >= b.settings.BatchRecords
	}
	leave := func() {
		full := next
		b.work.Go(func() {
			if of.yields {
				<-b.places.free
			}
			b.send(full, of.yields)
		})
		next, ripe = batch{}, false
		linger.Stop()
	}
	for {
		var turn chan struct{}
		if ripe {
			turn = free
		}
		select {
		case p := <-of.parts:
			if !b.fits(next, p) {
				<-free
				leave()
			}
			take(p)
		case <-linger.C:
			ripe = true
		case <-turn:
			leave()
		case <-b.closing:
			if next.records > 0 {
				<-free
				leave()
			}
			return
		}
	}
}

// send sees a batch through, for which there is a place, and answers its parts.
func (b *Batcher) send(of batch, yields bool) {
	trip := b.places.leave(yields)
	records, traced := make([][]byte, 0, of.records), []trace.Span(nil)
	for _, p := range of.parts {
		records = append(records, p.records...)
		if p.span.IsRecording() {
			traced = append(traced, p.span)
		}
	}
	ctx, span := tracing.Join("batch", traced)
	batch, err := b.sender.send(ctx, records)
	tracing.End(span, err)
	b.places.arrive(trip, err == nil && batch.Direct == (b.settings.Mode == Direct))
	for _, p := range of.parts {
		b.pending.Release(int64(p.size))
		p.done <- outcome{batch, err}
	}
}
