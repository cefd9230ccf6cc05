package workflows_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/proto"

	"millrace/activities/canary"
	"millrace/deploy/local/localtest"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// madeUpProber says what a test wants of its collectors.
type madeUpProber struct {
	report  canary.Report
	stops   int   // of its worker, before it says so
	sticks  error // what it is told when it deletes indices
	mu      sync.Mutex
	within  []time.Duration
	dropped []string
}

func (m *madeUpProber) register(w worker.ActivityRegistry) {
	w.RegisterActivityWithOptions(func(_ context.Context, in canary.ProbeInput) (canary.Report, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.within = append(m.within, in.Within)
		if len(m.within) <= m.stops {
			return canary.Report{}, errors.New("the worker is stopping")
		}
		return m.report, nil
	}, activity.RegisterOptions{Name: "ProbeCollectors"})
	w.RegisterActivityWithOptions(func(_ context.Context, in canary.DropInput) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dropped = append(m.dropped, in.Indices...)
		return m.sticks
	}, activity.RegisterOptions{Name: "DropCanaryIndices"})
}

// TestCanaryOnAServer: a run fails if a record does, says which, and begins anew where
// its worker has stopped.
func TestCanaryOnAServer(t *testing.T) {
	t.Parallel()
	good := canary.Probe{Region: "eu", ID: "1", Result: canary.Searchable, Seconds: 3.25}
	refused := canary.Probe{Region: "us", ID: "2", Result: canary.Refused, Error: "connection refused"}
	late := canary.Probe{Region: "ap", ID: "3", Result: canary.Late, Error: "no search finds it"}
	for name, c := range map[string]struct {
		prober *madeUpProber
		fails  string
		events int
	}{
		"searchable": {&madeUpProber{report: canary.Report{Probes: []canary.Probe{good}}}, "", 11},
		"failed": {
			&madeUpProber{report: canary.Report{Probes: []canary.Probe{late, good, refused}}},
			"ap: record 3 is late: no search finds it; us: refused: connection refused", 11,
		},
		"dropped": {&madeUpProber{report: canary.Report{Probes: []canary.Probe{good}, Expired: []string{"millrace-canary-2026.11.23"}}}, "", 17},
		"retried": {&madeUpProber{report: canary.Report{Probes: []canary.Probe{good}}, stops: 1}, "", 11},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...))
			w := worker.New(tc, workflows.CanaryQueue, worker.Options{})
			w.RegisterWorkflow(workflows.Canary)
			c.prober.register(w)
			if err := w.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(w.Stop)
			id := workflows.CanaryID("stream")
			run, err := tc.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.CanaryQueue}, workflows.Canary, workflows.CanaryInput{})
			if err != nil {
				t.Fatal(err)
			}
			var report canary.Report
			err = run.Get(t.Context(), &report)
			var failed *temporal.ApplicationError
			if errors.As(err, &failed) {
				if err := failed.Details(&report); err != nil {
					t.Errorf("the failure does not hold the report: %v", err)
				}
			}
			if got := kindOf(err); (got == workflows.CanaryFailed) != (c.fails != "") || c.fails != "" && !strings.Contains(err.Error(), c.fails) || c.fails == "" && err != nil {
				t.Errorf("it ends with %v", err)
			}
			if len(report.Probes) != len(c.prober.report.Probes) || report.Probes[0] != c.prober.report.Probes[0] {
				t.Errorf("it reports %+v", report)
			}
			if strings.Join(c.prober.dropped, " ") != strings.Join(c.prober.report.Expired, " ") || c.prober.within[0] != canary.DefaultWithin {
				t.Errorf("it has dropped %q, and waited for %v", c.prober.dropped, c.prober.within)
			}
			if events, bytes := size(t, tc, id); events != c.events || bytes > 4<<10 {
				t.Errorf("its history has %d events of %d bytes", events, bytes)
			}
			server{tc, launch.Launcher{Client: tc}, t}.keep("canary", id, name)
		})
	}
}

// size is how large a history is: there are thousands in a day.
func size(t *testing.T, c client.Client, id string) (events, bytes int) {
	t.Helper()
	for all := c.GetWorkflowHistory(t.Context(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); all.HasNext(); events++ {
		event, err := all.Next()
		if err != nil {
			t.Fatal(err)
		}
		bytes += proto.Size(event)
	}
	return events, bytes
}

// A canary whose old indices cannot be deleted fails, too, but not before what it found.
func TestCanarySaysThatOldIndicesStay(t *testing.T) {
	t.Parallel()
	for failing, want := range map[bool]string{false: "delete old indices of the canary", true: "us: refused"} {
		m := &madeUpProber{report: canary.Report{Expired: []string{"millrace-canary-2026.11.23"}}, sticks: errors.New("not allowed")}
		if failing {
			m.report.Probes = []canary.Probe{{Region: "us", Result: canary.Refused}}
		}
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestWorkflowEnvironment()
		env.RegisterWorkflow(workflows.Canary)
		m.register(env)
		env.ExecuteWorkflow(workflows.Canary, workflows.CanaryInput{})
		if err := env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it ends with %v", err)
		}
	}
}

func TestCanaryRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	for within, good := range map[time.Duration]bool{0: true, time.Second: true, 5 * time.Minute: true, -1: false, time.Millisecond: false, time.Hour: false} {
		m := &madeUpProber{}
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestWorkflowEnvironment()
		env.RegisterWorkflow(workflows.Canary)
		m.register(env)
		env.ExecuteWorkflow(workflows.Canary, workflows.CanaryInput{Within: within})
		if err := env.GetWorkflowError(); good != (err == nil) || !good && (kindOf(err) != workflows.InvalidInput || len(m.within) > 0) {
			t.Errorf("within %v it ends with %v, after %d probes", within, err, len(m.within))
		}
	}
}
