package workflows_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"millrace/workflows"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/recovery"
	"millrace/internal/control"
	"millrace/internal/telemetry"
)

const (
	madeObjects = 3  // of a page
	madeRecords = 10 // of an object
)

// madeUpSweeps are the activities of a recovery, made up: a call of SweepObjects
// goes through one object, and is to begin where the last one of its page ended.
type madeUpSweeps struct {
	t     *testing.T
	pages int

	mu     sync.Mutex
	done   map[string]map[int]int // objects, by stage and page
	sweeps []recovery.SweepInput
	plans  int
	holds  int
}

func newMadeUpSweeps(t *testing.T, pages int) *madeUpSweeps {
	return &madeUpSweeps{t: t, pages: pages, done: map[string]map[int]int{workflows.StageBackfill: {}, workflows.StageVerify: {}}}
}

func (m *madeUpSweeps) sweep(_ context.Context, in recovery.SweepInput) (recovery.SweepProgress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweeps = append(m.sweeps, in)
	pages := m.done[in.Stage]
	if in.Part.Object != pages[in.Part.Page] {
		m.t.Errorf("%s of page %d goes on at object %d, not %d", in.Stage, in.Part.Page, in.Part.Object, pages[in.Part.Page])
	}
	pages[in.Part.Page]++
	in.Part.Object++
	in.Pace.Share += 0.01
	return recovery.SweepProgress{
		Stage: in.Stage, Part: in.Part, Done: in.Part.Object == madeObjects, Pace: in.Pace,
		Counts:  recovery.SweepCounts{Objects: 1, Records: madeRecords, Indexed: madeRecords - 1, Missing: 1},
		Missing: []recovery.Gap{{Records: 1, Reason: "made up"}},
		Worker:  "made up",
	}, nil
}

// env runs a recovery with these activities, each call of SweepObjects takes ten
// seconds.
func (m *madeUpSweeps) env(id string) *testsuite.TestWorkflowEnvironment {
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id})
	env.RegisterWorkflow(workflows.Recover)
	env.RegisterWorkflow(workflows.Replay)
	for name, made := range map[string]any{
		"PlanRecovery": func(context.Context, recovery.PlanInput) (recovery.Plan, error) {
			m.plans++
			return recovery.Plan{Papers: "papers/", Pages: m.pages, Objects: int64(m.pages * madeObjects), Records: int64(m.pages * madeObjects * madeRecords)}, nil
		},
		"HoldShards": func(context.Context, recovery.HoldInput) (map[string]telemetry.Checkpoint, error) {
			m.holds++
			return map[string]telemetry.Checkpoint{"shard": {Sequence: "1"}}, nil
		},
		"RestoreIndices": func(context.Context, recovery.RestoreInput) (recovery.RestoreProgress, error) {
			return recovery.RestoreProgress{}, nil
		},
		"ReleaseShards": func(context.Context, control.Hold) error { return nil },
		"AwaitBackup": func(context.Context, recovery.AwaitInput) (recovery.AwaitResult, error) {
			return recovery.AwaitResult{Pages: m.pages, Objects: int64(m.pages * madeObjects)}, nil
		},
		"ConcludeRecovery": func(context.Context, recovery.RecoverResult) error { return nil },
		"SweepObjects":     m.sweep,
	} {
		env.RegisterActivityWithOptions(made, activity.RegisterOptions{Name: name})
	}
	env.OnActivity("SweepObjects", mock.Anything, mock.Anything).Return(m.sweep).After(10 * time.Second)
	return env
}

func progressOf(t *testing.T, env *testsuite.TestWorkflowEnvironment) (p workflows.RecoverProgress) {
	t.Helper()
	answer, err := env.QueryWorkflow(workflows.ProgressQuery)
	if err == nil {
		err = answer.Get(&p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// window is what a replay has to name.
var window = recovery.RecoverRequest{From: time.Unix(1_800_000_000, 0), To: time.Unix(1_800_003_600, 0)}

// A page that is alone gets all of the rate, and the status shows what it does.
func TestTheRateIsThatOfTheLanesThatWork(t *testing.T) {
	t.Parallel()
	for pages, want := range map[int]struct{ each, shown float64 }{1: {200, 1}, 2: {100, 2}, 4: {100, 2}} {
		m := newMadeUpSweeps(t, pages)
		env := m.env(workflows.ReplayID("rate"))
		env.ExecuteWorkflow(workflows.Replay, workflows.RecoverInput{RecoverRequest: window, Rate: 200, Lanes: 2})
		if err := env.GetWorkflowError(); err != nil {
			t.Fatal(err)
		}
		for _, in := range m.sweeps {
			if in.Rate != want.each {
				t.Errorf("of %d pages one is worked on with %g records a second", pages, in.Rate)
			}
		}
		if p := progressOf(t, env); p.Rate < 0.99*want.shown || p.Rate > 1.01*want.shown {
			t.Errorf("of %d pages it shows %g records a second", pages, p.Rate)
		}
	}
}

// A recovery is done in many runs, each of which goes on where the last one was:
// every object is gone through once, and nothing that was counted is forgotten.
func TestARecoveryContinuesAsNew(t *testing.T) {
	t.Parallel()
	const pages = 5
	for name, c := range map[string]struct {
		id     string
		run    any
		in     workflows.RecoverInput
		stages []string
		plans  int
		holds  int
	}{
		"recover": {workflows.RecoverID, workflows.Recover, workflows.RecoverInput{Lanes: 2}, []string{workflows.StageBackfill, workflows.StageVerify}, 2, 2},
		"replay":  {workflows.ReplayID("x"), workflows.Replay, workflows.RecoverInput{Lanes: 2, RecoverRequest: window}, []string{workflows.StageBackfill}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMadeUpSweeps(t, pages)
			var last workflows.RecoverProgress
			var result recovery.RecoverResult
			runs := 0
			for in := c.in; ; runs++ {
				if runs > 50 {
					t.Fatal("it has no end")
				}
				env := m.env(c.id)
				env.RegisterDelayedCallback(func() { env.SetContinueAsNewSuggested(true) }, 15*time.Second)
				if runs == 0 { // before there are calls: the environment drops what a canceled one returns
					env.RegisterDelayedCallback(func() { env.SignalWorkflow(workflows.SetRate, workflows.RateInput{Rate: 80}) }, 0)
				}
				env.ExecuteWorkflow(c.run, in)
				p := progressOf(t, env)
				if p.Stage == last.Stage && (p.RecordsDone <= last.RecordsDone || p.ObjectsDone <= last.ObjectsDone) || p.Missing < last.Missing ||
					runs > 0 && (p.ID != last.ID || p.Limit != 80) {
					t.Errorf("run %d has come from %+v to %+v", runs, last, p)
				}
				last = p
				var again *workflow.ContinueAsNewError
				if err := env.GetWorkflowError(); !errors.As(err, &again) {
					if err == nil {
						err = env.GetWorkflowResult(&result)
					}
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				in = workflows.RecoverInput{}
				if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &in); err != nil {
					t.Fatal(err)
				}
				if in.State == nil || in.Rate != 80 || in.Lanes != 2 || len(in.State.Backfill.Open)+len(in.State.Verify.Open) > 2 {
					t.Fatalf("run %d hands over %+v, %+v", runs, in, in.State)
				}
			}
			if runs < 3*len(c.stages) {
				t.Errorf("it took %d runs", runs)
			}
			for _, stage := range c.stages {
				for page := range pages {
					if m.done[stage][page] != madeObjects {
						t.Errorf("%s has gone through %d objects of page %d", stage, m.done[stage][page], page)
					}
				}
			}
			all := recovery.SweepCounts{Objects: pages * madeObjects, Records: pages * madeObjects * madeRecords,
				Indexed: pages * madeObjects * (madeRecords - 1), Missing: pages * madeObjects}
			if result.Backfill != all || name == "recover" && result.Verify != all || len(result.Missing) != pages*madeObjects*len(c.stages) {
				t.Errorf("in the end it has %+v, and misses %d", result, len(result.Missing))
			}
			if m.plans != c.plans || m.holds != c.holds {
				t.Errorf("it was planned %d times, and shards were paused %d times", m.plans, m.holds)
			}
			// Pace and time are handed over, too.
			if last.Pace.Share <= 0.05 || last.Rate < 1.5 || last.Rate > 2.1 {
				t.Errorf("in the end its pace is %+v, its rate %g", last.Pace, last.Rate)
			}
		})
	}
}
