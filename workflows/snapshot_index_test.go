package workflows_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/workflows"
	"millrace/workflows/launch"

	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"millrace/activities/snapshots"
	"millrace/deploy/local/localtest"
	"millrace/internal/index"
	"millrace/internal/snapshot"
)

// madeUpCluster has one snapshot, which is going on for some looks and then
// is what a test wants.
type madeUpCluster struct {
	mu       sync.Mutex
	did      []string
	names    map[string]bool
	plan     snapshots.SnapshotPlan
	looks    int // before it has ended; negative: it never does
	end      snapshots.SnapshotLook
	expiring error
}

func (m *madeUpCluster) note(what, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names == nil {
		m.names = map[string]bool{}
	}
	if len(m.did) == 0 || m.did[len(m.did)-1] != what {
		m.did = append(m.did, what)
	}
	m.names[name] = true
}

func (m *madeUpCluster) done() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.did)
}

func (m *madeUpCluster) register(w worker.Registry) {
	activities := map[string]any{
		"PlanSnapshot": func(_ context.Context, in snapshots.SnapshotCall) (snapshots.SnapshotPlan, error) {
			m.note("plan", in.Name)
			plan := m.plan
			if plan.Name == "" {
				plan.Name, plan.State = in.Name, snapshot.Planned
			}
			return plan, nil
		},
		"BeginSnapshot": func(_ context.Context, in snapshots.SnapshotCall) (snapshots.SnapshotBegun, error) {
			m.note("begin", in.Name)
			return snapshots.SnapshotBegun{Indices: 2, Documents: 3, Open: 1}, nil
		},
		"FollowSnapshot": func(_ context.Context, in snapshots.SnapshotCall) (snapshots.SnapshotLook, error) {
			m.note("follow", in.Name)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.looks--
			if m.looks != -1 {
				return snapshots.SnapshotLook{State: snapshot.InProgress, Progress: index.Progress{Shards: 2, Done: 1}}, nil
			}
			return m.end, nil
		},
		"AbandonSnapshot": func(_ context.Context, in snapshots.SnapshotCall) error {
			m.note("abandon", in.Name)
			return nil
		},
		"ExpireSnapshots": func(_ context.Context, in snapshots.ExpireCall) (snapshots.Expired, error) {
			m.note("expire "+in.Retention.KeepAll.String(), "")
			return snapshots.Expired{Deleted: 1, Kept: 4}, m.expiring
		},
	}
	for name, function := range activities {
		w.RegisterActivityWithOptions(function, activity.RegisterOptions{Name: name})
	}
}

// onServer runs a SnapshotIndex on a real Temporal, and returns how it ended.
func (m *madeUpCluster) onServer(t *testing.T, meanwhile func(c client.Client)) (server, workflows.SnapshotStatus, error) {
	t.Helper()
	c := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...))
	w := worker.New(c, workflows.SnapshotQueue, worker.Options{})
	w.RegisterWorkflow(workflows.SnapshotIndex)
	m.register(w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	id := workflows.SnapshotID("millrace")
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.SnapshotQueue}, workflows.SnapshotIndex, workflows.SnapshotInput{})
	if err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		meanwhile(c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ended := run.Get(ctx, nil)
	var status workflows.SnapshotStatus
	answer, err := c.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
	if err == nil {
		err = answer.Get(&status)
	}
	if err != nil {
		t.Fatal(err)
	}
	return server{c, launch.Launcher{Client: c}, t}, status, ended
}

func kindOf(err error) string {
	var failed *temporal.ApplicationError
	if errors.As(err, &failed) {
		return failed.Type()
	}
	return ""
}

func TestSnapshotIndexOnAServer(t *testing.T) {
	t.Parallel()
	good := snapshots.SnapshotLook{State: snapshot.Success}
	for name, c := range map[string]struct {
		cluster *madeUpCluster
		kind    string // of the error
		text    string
		did     []string
	}{
		"taken": {
			cluster: &madeUpCluster{looks: 2, end: good},
			did:     []string{"plan", "begin", "follow", "expire 2d"},
		},
		"partial": {
			cluster: &madeUpCluster{end: snapshots.SnapshotLook{State: snapshot.Partial, Reason: "1 of 2 shards are not in it"}},
			kind:    workflows.SnapshotFailed, text: "is PARTIAL: 1 of 2 shards are not in it",
			did: []string{"plan", "begin", "follow"},
		},
		"suspect": {
			cluster: &madeUpCluster{end: snapshots.SnapshotLook{State: snapshot.Success, Suspect: "an index has vanished"}},
			kind:    workflows.SnapshotSuspect, text: "an index has vanished. Snapshots are no longer deleted. Recover what is missing; if nothing is, accept it: starter snapshot accept telemetry-",
			did: []string{"plan", "begin", "follow"},
		},
		"adopted": {
			cluster: &madeUpCluster{plan: snapshots.SnapshotPlan{Name: "earlier", State: snapshot.InProgress, LastGood: time.Now()}, looks: 1, end: good},
			did:     []string{"plan", "follow", "expire 2d"},
		},
		"overdue": {
			cluster: &madeUpCluster{
				plan: snapshots.SnapshotPlan{Name: "earlier", State: snapshot.InProgress, LastGood: time.Now().Add(-3 * time.Hour)},
				end:  snapshots.SnapshotLook{State: snapshot.Failed, Reason: "gone"},
			},
			kind: workflows.SnapshotOverdue, text: "no snapshot has succeeded since ",
			did: []string{"plan", "follow"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, status, err := c.cluster.onServer(t, nil)
			if kindOf(err) != c.kind || c.kind != "" && !strings.Contains(err.Error(), c.text) || (err == nil) != (c.kind == "") {
				t.Errorf("it ended with %q: %v", kindOf(err), err)
			}
			if got := c.cluster.done(); !slices.Equal(got, c.did) {
				t.Errorf("it did %v", got)
			}
			if want := map[bool]string{true: workflows.StateDone, false: workflows.StateFailed}[c.kind == ""]; status.State != want {
				t.Errorf("its status is %+v", status)
			}
			if name == "adopted" && !c.cluster.names["earlier"] {
				t.Errorf("it followed %v", c.cluster.names)
			}
			s.keep("snapshot_index", workflows.SnapshotID("millrace"), name)
		})
	}
}

func TestSnapshotIndexIsCanceled(t *testing.T) {
	t.Parallel()
	m := &madeUpCluster{looks: -100}
	s, status, err := m.onServer(t, func(c client.Client) {
		await(t, "the first look", func() bool { return slices.Contains(m.done(), "follow") })
		if err := c.CancelWorkflow(t.Context(), workflows.SnapshotID("millrace"), ""); err != nil {
			t.Fatal(err)
		}
	})
	var canceled *temporal.CanceledError
	if did := m.done(); !errors.As(err, &canceled) || did[len(did)-1] != "abandon" || status.State != workflows.StateFailed {
		t.Errorf("it did %v and ended with %v as %+v", did, err, status)
	}
	s.keep("snapshot_index", workflows.SnapshotID("millrace"), "canceled")
}

// inTime runs a SnapshotIndex where time skips ahead.
func (m *madeUpCluster) inTime(t *testing.T, in workflows.SnapshotInput) (*testsuite.TestWorkflowEnvironment, error) {
	t.Helper()
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.RegisterWorkflow(workflows.SnapshotIndex)
	m.register(env)
	env.ExecuteWorkflow(workflows.SnapshotIndex, in)
	return env, env.GetWorkflowError()
}

// A snapshot that takes for ever ends as an alarm, and with few looks at it.
func TestASnapshotThatDoesNotEndIsAnAlarm(t *testing.T) {
	t.Parallel()
	m := &madeUpCluster{looks: -1000, plan: snapshots.SnapshotPlan{Name: "slow", State: snapshot.InProgress, LastGood: time.Now()}}
	env, err := m.inTime(t, workflows.SnapshotInput{Every: model.Duration(24 * time.Hour)})
	if kindOf(err) != workflows.SnapshotOverdue || !strings.Contains(err.Error(), "it goes on, and the next run will follow it") {
		t.Errorf("it ended with %q: %v", kindOf(err), err)
	}
	if took := time.Until(env.Now()); took < 48*time.Hour || took > 49*time.Hour {
		t.Errorf("after %s", took)
	}
	if looks := -1000 - m.looks; looks > 80+47*12 {
		t.Errorf("it looked %d times", looks)
	}
}

func TestASnapshotWhoseRetentionFailsSaysThatItWasTaken(t *testing.T) {
	t.Parallel()
	m := &madeUpCluster{end: snapshots.SnapshotLook{State: snapshot.Success}, expiring: errors.New("no permission")}
	_, err := m.inTime(t, workflows.SnapshotInput{})
	if kindOf(err) != workflows.SnapshotFailed && kindOf(err) != workflows.SnapshotOverdue || !strings.Contains(err.Error(), "was taken, but old ones could not be deleted") {
		t.Errorf("it ended with %q: %v", kindOf(err), err)
	}
}

func TestSnapshotInputIsChecked(t *testing.T) {
	t.Parallel()
	for text, in := range map[string]workflows.SnapshotInput{
		"the setting bucket is missing":   {Repository: index.Repository{Type: "s3"}},
		`does not begin with "telemetry-`: {Indices: []string{"*"}},
		"every: 1s is less than 1m":       {Every: model.Duration(time.Second)},
		"is shorter than keepAll":         {Retention: snapshot.Retention{KeepAll: model.Duration(48 * time.Hour), KeepDaily: model.Duration(time.Hour)}},
	} {
		m := &madeUpCluster{}
		if _, err := m.inTime(t, in); kindOf(err) != workflows.SnapshotFailed || !strings.Contains(err.Error(), text) || len(m.done()) > 0 {
			t.Errorf("%+v: it did %v and ended with %v", in, m.done(), err)
		}
	}
	if err := (workflows.SnapshotInput{}).WithDefaults().Validate(); err != nil {
		t.Error(err)
	}
}
