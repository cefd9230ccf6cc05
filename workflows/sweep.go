package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/workflow"

	"millrace/activities/recovery"
)

// Sweep is how far the objects of a list are gone through. It is what a run
// hands over to the next.
type Sweep struct {
	Stage   string               `json:"stage"`
	Pages   int                  `json:"pages"`
	Next    int                  `json:"next"`           // next page to begin
	Open    []recovery.Part      `json:"open,omitempty"` // of pages that are begun, and that no call works on
	Counts  recovery.SweepCounts `json:"counts"`
	Missing []recovery.Gap       `json:"missing,omitempty"`
	Began   time.Time            `json:"began"`
	// Worked is how long the calls that ended have taken, each by its part of the
	// lanes that were in one at the same time.
	Worked time.Duration `json:"worked"`
	// Pace is how far the last call gave way to live traffic.
	Pace recovery.YieldPolicy `json:"pace,omitzero"`
}

// sweeping runs a Sweep: some pages at a time, each by calls of SweepObjects.
//
// Its history grows by six events for each call: 1,000 pages of a million
// objects cost 6,000 events when each page takes one call, and else as many as
// the time takes, 1,440 an hour with two lanes of 30 seconds a call. The run
// that it is part of continues as new when Temporal suggests it, at some 4,000
// events.
type sweeping struct {
	*Sweep
	papers  string
	callFor time.Duration
	lanes   int
	rate    func() float64 // records a second, of all lanes together
	paused  func() bool
	learned func() // is called when a call has ended

	holding   int           // lanes that have a page
	working   int           // those of them that are in a call
	clock     time.Duration // runs the slower the more of them are; see tick
	ticked    time.Time
	calls     []workflow.CancelFunc // end those
	lastError string
}

// errContinue says that the run is to continue as new.
var errContinue = errors.New("continue as new")

// run goes through the list to its end. It ends early when the context does, or
// with errContinue, and no call is under way then.
func (s *sweeping) run(ctx workflow.Context) error {
	disconnected, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	lanes := s.lanes
	for range s.lanes {
		workflow.Go(ctx, func(ctx workflow.Context) {
			s.lane(ctx)
			lanes--
		})
	}
	if err := workflow.Await(disconnected, func() bool { return lanes == 0 }); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(s.Open) > 0 || s.Next < s.Pages {
		return errContinue
	}
	return nil
}

// lane works on one page after the other.
func (s *sweeping) lane(ctx workflow.Context) {
	for first := true; ; first = false {
		part, more := s.nextPart()
		if !more {
			return
		}
		s.holding++
		for done := false; !done; first = false {
			// Await says nothing of a context that ended before its condition held.
			_ = workflow.Await(ctx, func() bool { return !s.paused() })
			if ctx.Err() != nil || !first && workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
				s.Open = append(s.Open, part)
				s.holding--
				return
			}
			part, done = s.call(ctx, part)
		}
		s.holding--
	}
}

// nextPart returns where to go on.
func (s *sweeping) nextPart() (part recovery.Part, more bool) {
	if len(s.Open) > 0 {
		part, s.Open = s.Open[0], s.Open[1:]
		return part, true
	}
	if s.Next >= s.Pages {
		return part, false
	}
	s.Next++
	return recovery.Part{Page: s.Next - 1}, true
}

// call runs one call of SweepObjects, and returns how far it came.
func (s *sweeping) call(ctx workflow.Context, part recovery.Part) (recovery.Part, bool) {
	call, interrupt := workflow.WithCancel(workflow.WithActivityOptions(ctx, sweepOptions(s.Stage, s.callFor)))
	defer interrupt()
	s.calls = append(s.calls, interrupt)
	began := s.tick(ctx)
	s.working++
	var result recovery.SweepProgress
	err := recovery.SweepObjects.Execute(call, recovery.SweepInput{
		Papers: s.papers, Stage: s.Stage, Part: part, Rate: s.rate() / float64(s.atWork()), Pace: s.Pace, For: s.callFor,
	}).Get(ctx, &result)
	s.Worked += s.tick(ctx) - began
	s.working--
	if s.working == 0 {
		s.calls = nil
	}
	if err != nil { // it was canceled before a worker took it, or its worker died then: it is done again
		return part, false
	}
	if result.Worker == "" && ignore(ctx, string(recovery.SweepObjects)) {
		return part, false
	}
	s.Counts.Add(result.Counts)
	s.Missing = append(s.Missing, result.Missing[:min(len(result.Missing), max(0, mostMissing-len(s.Missing)))]...)
	s.lastError, s.Pace = result.LastError, result.Pace
	s.learned()
	return result.Part, result.Done
}

// atWork is how many lanes have something to do: there may be fewer pages.
func (s *sweeping) atWork() int {
	return min(s.lanes, s.holding+len(s.Open)+s.Pages-s.Next)
}

// tick returns for how long calls have run, by a clock of which they share each
// moment.
func (s *sweeping) tick(ctx workflow.Context) time.Duration {
	now := workflow.Now(ctx)
	if s.working > 0 {
		s.clock += now.Sub(s.ticked) / time.Duration(s.working)
	}
	s.ticked = now
	return s.clock
}

// stop ends all calls, with what they have in flight.
func (s *sweeping) stop() {
	for _, interrupt := range s.calls {
		interrupt()
	}
	s.calls = nil
}
