package redrive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"millrace/internal/backoff"
	"millrace/internal/deadletter"
	"millrace/internal/intake"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Redriver is what the activity of Redrive needs.
type Redriver struct {
	Queue       FallbackQueue
	Stream      intake.Stream
	DeadLetters intake.DeadLetters
	Limits      Limits
	Worker      string // identity of this worker, for operators
}

// FallbackQueue holds the records that the stream did not take. See
// queue.Fallback.
type FallbackQueue interface {
	Name() string
	Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error)
	Extend(ctx context.Context, m queue.Message, visibility time.Duration) error
	Delete(ctx context.Context, m queue.Message) error
	Send(ctx context.Context, records [][]byte) (rest []int, err error)
}

// Limits bound what redriving may use. A zero field takes its default.
type Limits struct {
	Receivers  int           `name:"redrive-receivers" help:"Concurrent receivers of the fallback queue." default:"4" env:"MILLRACE_REDRIVE_RECEIVERS"`
	Visibility time.Duration `name:"redrive-visibility" help:"Visibility timeout of a message in progress. It is extended while needed." default:"60s" env:"MILLRACE_REDRIVE_VISIBILITY"`
	GiveUp     time.Duration `name:"redrive-give-up" help:"How long to try a message's records before the rest goes back to the queue." default:"10m" env:"MILLRACE_REDRIVE_GIVE_UP"`
}

// Defaults of RedriveLimits.
const (
	DefaultReceivers  = 4
	DefaultVisibility = time.Minute
	DefaultGiveUp     = 10 * time.Minute
)

// leastVisibility leaves time to put, and to extend.
const leastVisibility = 10 * time.Second

// Validate reports limits with which messages would be lost from sight.
func (l Limits) Validate() error {
	if l.Receivers < 0 {
		return fmt.Errorf("--redrive-receivers: %d is negative", l.Receivers)
	}
	if l.Visibility != 0 && l.Visibility < leastVisibility {
		return fmt.Errorf("--redrive-visibility: %s is less than %s", l.Visibility, leastVisibility)
	}
	return nil
}

func (l Limits) withDefaults() Limits {
	if l.Receivers == 0 {
		l.Receivers = DefaultReceivers
	}
	if l.Visibility == 0 {
		l.Visibility = DefaultVisibility
	}
	if l.GiveUp == 0 {
		l.GiveUp = DefaultGiveUp
	}
	return l
}

// Counts says what became of the messages of the fallback queue.
type Counts struct {
	Messages  int64 `json:"messages"`  // deleted: all their records are safe
	Records   int64 `json:"records"`   // put into the stream
	Returned  int64 `json:"returned"`  // records sent back to the queue
	Dead      int64 `json:"dead"`      // records in the ledger: the stream will never take them
	Throttled int64 `json:"throttled"` // calls in which the stream did not take everything
}

// Call says which queue to redrive, and for how long.
type Call struct {
	Queue  string        `json:"queue"`
	Counts Counts        `json:"counts"` // so far
	For    time.Duration `json:"for"`
}

// Progress is a call's result, and on the way there the details of its
// heartbeat.
type Progress struct {
	Counts    Counts  `json:"counts"`
	Pace      float64 `json:"pace,omitempty"` // records a second, while it is bounded
	Worker    string  `json:"worker"`
	LastError string  `json:"lastError,omitempty"`
}

// receiveWait is how long a receiver waits for messages: SQS's longest.
const receiveWait = 20 * time.Second

// redriveTimeout bounds one step with the stream, the queue or the ledger, and
// giveBackTimeout what is done to end: a connection that is half open would hold
// all up, and nothing would stop it.
const redriveTimeout, giveBackTimeout = 10 * time.Second, 20 * time.Second

// RedriveMessages receives messages from the fallback queue, puts their records
// into the stream, and deletes each message whose records the stream has taken.
// It ends well when its time is over, or it is canceled, or the worker stops;
// what it holds then goes back to the queue.
func (r *Redriver) RedriveMessages(ctx context.Context, in Call) (Progress, error) {
	if in.Queue != r.Queue.Name() {
		return Progress{}, fmt.Errorf("redrive queue %s: this worker knows %s", in.Queue, r.Queue.Name())
	}
	going, cancel := longcall.WithWorkerStop(ctx)
	defer cancel()
	going, cancelDue := context.WithTimeout(going, in.For)
	defer cancelDue()
	long := longcall.Within(going, context.WithoutCancel(ctx))
	defer long.Abandon()
	call := &redriving{Redriver: *r, call: long, counts: in.Counts, pace: newPutRate()}
	call.Limits = r.Limits.withDefaults()
	var last Progress
	if activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &last) == nil {
		call.counts = last.Counts
	}
	defer redriveOldest.DeleteLabelValues(in.Queue) // another worker may redrive then
	defer longcall.Heartbeat(ctx, func() any { return call.progress() })()
	var group sync.WaitGroup
	for range call.Limits.Receivers {
		group.Go(call.receive)
	}
	group.Wait()
	return call.progress(), nil
}

// redriving is one call of RedriveMessages.
type redriving struct {
	Redriver
	call *longcall.Call
	pace *putRate

	mu     sync.Mutex
	counts Counts
	held   []time.Time // for each receipt in progress, when its oldest record was received
}

func (r *redriving) progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, lastError := r.call.Stall.State()
	redriveOldest.WithLabelValues(r.Queue.Name()).Set(r.age().Seconds())
	return Progress{Counts: r.counts, Pace: r.pace.bound(), Worker: r.Worker, LastError: lastError}
}

// age is that of the oldest record in progress.
func (r *redriving) age() time.Duration {
	if len(r.held) == 0 {
		return 0
	}
	return time.Since(slices.MinFunc(r.held, time.Time.Compare))
}

// hold enters messages as being in progress until release is called.
func (r *redriving) hold(messages []queue.Message) (release func()) {
	since := oldest(messages)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, since)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		at := slices.Index(r.held, since)
		r.held = slices.Delete(r.held, at, at+1)
	}
}

// oldest returns when the oldest record of some messages was received by a collector. A message has records of one
// batch, so its first one tells; what returns to the queue in a new message keeps its age.
func oldest(messages []queue.Message) time.Time {
	first := time.Now()
	for _, m := range messages {
		since := m.Sent
		if len(m.Records) > 0 {
			if r, err := telemetry.Parse(m.Records[0]); err == nil {
				since = r.ReceivedAt
			}
		}
		if !since.IsZero() && since.Before(first) {
			first = since
		}
	}
	return first
}

func (r *redriving) count(add Counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Messages += add.Messages
	r.counts.Records += add.Records
	r.counts.Returned += add.Returned
	r.counts.Dead += add.Dead
	r.counts.Throttled += add.Throttled
	redrivenRecords.Add(float64(add.Records))
	redriveThrottled.Add(float64(add.Throttled))
}

// What a redrive may have to wait for, as operators read it.
const (
	receiving = "receive from the queue"
	redrive   = "put into the stream"
)

func (r *redriving) receive() {
	for r.call.Going.Err() == nil {
		var messages []queue.Message
		receive := func() (err error) {
			ctx, cancel := context.WithTimeout(r.call.Going, receiveWait+redriveTimeout)
			defer cancel()
			messages, err = r.Queue.Receive(ctx, queue.MaxBatch, receiveWait, r.Limits.Visibility)
			return err
		}
		if !r.call.Retry(receiving, receive) {
			return
		}
		if len(messages) > 0 {
			r.redrive(messages)
		}
	}
}

// load is a message on its way into the stream.
type load struct {
	queue.Message
	left []int // positions of its records that are not safe yet
	lost bool  // another receiver holds the message
}

// redrive puts the records of some messages into the stream, until all are
// there, or it is time to give up.
func (r *redriving) redrive(messages []queue.Message) {
	defer r.hold(messages)()
	loads := make([]*load, 0, len(messages))
	for _, m := range messages {
		if m.Damaged != nil {
			r.discard(m)
			continue
		}
		loads = append(loads, &load{Message: m, left: intake.Positions(len(m.Records))})
	}
	begun, extended := time.Now(), time.Now()
	for wait := longcall.FirstWait; len(loads) > 0; {
		rejected, err := r.putPortion(loads)
		loads = r.finish(loads)
		if time.Since(extended) > r.Limits.Visibility/3 {
			extended = time.Now()
			r.extend(loads)
		}
		switch {
		case err != nil || r.call.Going.Err() != nil || time.Since(begun) > r.Limits.GiveUp:
			ctx, cancel := context.WithTimeout(r.call.Work, giveBackTimeout)
			defer cancel()
			for _, l := range loads {
				r.giveBack(ctx, l)
			}
			return
		case rejected == 0:
			wait = longcall.FirstWait
		default:
			backoff.Wait(r.call.Going, wait)
			wait = min(2*wait, longcall.LongestWait)
		}
	}
}

// place is a record of a message.
type place struct {
	load *load
	at   int
}

// portion takes the next records of some messages.
func (r *redriving) portion(loads []*load) (records [][]byte, places []place) {
	most := r.pace.portion()
	for _, l := range loads {
		n := min(len(l.left), most-len(records))
		for _, at := range l.left[:n] {
			records, places = append(records, l.Records[at]), append(places, place{l, at})
		}
		l.left = l.left[n:]
	}
	return records, places
}

// putPortion makes one attempt for the next records of some messages, and
// returns how many of them are not safe yet. It fails when it is time to end.
func (r *redriving) putPortion(loads []*load) (rejected int, err error) {
	records, places := r.portion(loads)
	again := func(p place) { p.load.left = append(p.load.left, p.at) }
	if err := r.pace.wait(r.call.Going, len(records)); err != nil {
		for _, p := range places {
			again(p)
		}
		return 0, err
	}
	dead := map[*load][]intake.Refused{}
	var last error
	counts := Counts{Records: int64(len(records))}
	rejections := r.put(records)
	arrived(redriveSeconds, records, rejections)
	for _, rejection := range rejections {
		counts.Records--
		p := places[rejection.Position]
		if rejection.Invalid {
			dead[p.load] = append(dead[p.load], intake.Refused{
				Position: p.at, Data: p.load.Records[p.at], Code: rejection.Code, Reason: rejection.Message,
			})
			continue
		}
		again(p)
		rejected++
		last = fmt.Errorf("%s: %s", rejection.Code, rejection.Message)
	}
	r.pace.report(int(counts.Records), rejected > 0)
	if rejected > 0 {
		counts.Throttled = 1
		r.call.Stall.Set(redrive, last)
	} else {
		r.call.Stall.Clear(redrive)
	}
	for l, of := range dead {
		if r.giveUp(l.Message, of) {
			continue
		}
		for _, d := range of {
			again(place{l, d.Position})
			rejected++
		}
	}
	r.count(counts)
	return rejected, nil
}

func (r *redriving) put(records [][]byte) []stream.Rejection {
	ctx, cancel := context.WithTimeout(r.call.Work, redriveTimeout)
	defer cancel()
	return r.Stream.Put(ctx, records)
}

// giveUp writes records of a message to the ledger.
func (r *redriving) giveUp(m queue.Message, dead []intake.Refused) bool {
	ctx, cancel := context.WithTimeout(r.call.Work, redriveTimeout)
	defer cancel()
	if err := r.DeadLetters.WriteIngest(ctx, "redrive/"+m.ID, dead); err != nil {
		r.call.Stall.Set(deadletter.Writing, err)
		return false
	}
	r.call.Stall.Clear(deadletter.Writing)
	r.count(Counts{Dead: int64(len(dead))})
	return true
}

// finish deletes the messages that have no records left, and returns the others.
func (r *redriving) finish(loads []*load) []*load {
	ctx, cancel := context.WithTimeout(r.call.Work, redriveTimeout)
	defer cancel()
	return slices.DeleteFunc(loads, func(l *load) bool { return r.done(ctx, l) })
}

// done deletes a message that has no records left, and reports that it is to be
// forgotten.
func (r *redriving) done(ctx context.Context, l *load) bool {
	if len(l.left) > 0 {
		return l.lost
	}
	// What a failure leaves in the queue comes again, which does no harm.
	if err := r.Queue.Delete(ctx, l.Message); err != nil && !errors.Is(err, queue.ErrNotHeld) {
		slog.Warn("could not delete a redriven message, it will come again", "queue", r.Queue.Name(), "message", l.ID, "error", err)
		return true
	}
	r.count(Counts{Messages: 1})
	return true
}

func (r *redriving) extend(loads []*load) {
	ctx, cancel := context.WithTimeout(r.call.Work, redriveTimeout)
	defer cancel()
	for _, l := range loads {
		err := r.Queue.Extend(ctx, l.Message, r.Limits.Visibility)
		if errors.Is(err, queue.ErrNotHeld) {
			l.lost = true // the receiver that holds it redrives it
		}
		if err != nil {
			slog.Warn("could not hold on to a message", "queue", r.Queue.Name(), "message", l.ID, "error", err)
		}
	}
}

// giveBack returns a message to the queue. If the stream has taken a part of
// it, the remainder becomes a new message before the old one is deleted. What
// time does not suffice for is delivered again, as a whole.
func (r *redriving) giveBack(ctx context.Context, l *load) {
	if len(l.left) < len(l.Records) {
		slices.Sort(l.left)
		if _, err := r.Queue.Send(ctx, intake.Pick(l.Records, l.left)); err == nil {
			r.count(Counts{Returned: int64(len(l.left))})
			l.left = nil
			r.done(ctx, l)
			return
		}
	}
	if err := r.Queue.Extend(ctx, l.Message, 0); err != nil && !errors.Is(err, queue.ErrNotHeld) {
		slog.Warn("could not return a message, SQS will deliver it again", "queue", r.Queue.Name(), "message", l.ID, "error", err)
	}
}

// discard takes a message that cannot be read out of the way. Its text goes to
// the ledger first, unless it is a second delivery of what was redriven: then
// there is no such message any more.
func (r *redriving) discard(m queue.Message) {
	ctx, cancel := context.WithTimeout(r.call.Work, redriveTimeout)
	defer cancel()
	code := outcome.TypeDamagedMessage
	if errors.Is(m.Damaged, queue.ErrGone) {
		code = outcome.TypeMissingOverflow
		if err := r.Queue.Extend(ctx, m, r.Limits.Visibility); err != nil {
			return // if it is there, it comes again
		}
	}
	if !r.giveUp(m, []intake.Refused{{Data: []byte(m.Body), Code: code, Reason: m.Damaged.Error()}}) {
		return // it comes again
	}
	slog.Error("wrote a message that cannot be read to the ledger", "queue", r.Queue.Name(), "message", m.ID, "error", m.Damaged)
	if err := r.Queue.Delete(ctx, m); err != nil && !errors.Is(err, queue.ErrNotHeld) {
		slog.Warn("could not delete a damaged message, it will come again", "queue", r.Queue.Name(), "message", m.ID, "error", err)
	}
}
