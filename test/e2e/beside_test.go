package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/load"
	"millrace/internal/stream"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// Of each house: records in doubt, which are too few for a circuit, and records
// that are sent to the collector of the other house, too.
const (
	riddles = 8
	resent  = 200
)

// TestOldWorkerWorksBesideNewOne: with the same task queues, shards and bucket.
// Each house is killed once, and the other one goes on with its shards, its
// backup, its batches and its dead letters, from where they were. It has a task of its
// own, since it needs the history of the clone, and takes minutes beside other tests.
func TestOldWorkerWorksBesideNewOne(t *testing.T) {
	t.Parallel()
	if os.Getenv("MILLRACE_TEST_OLD_WORKER") == "" {
		t.Skip("run it by ./task beside: it builds and runs the programs of an earlier commit")
	}
	m := newMixed(t)
	riddle := func(h *house) faultproxy.Rule {
		return faultproxy.Rule{Name: "undecided", Path: "/_bulk", Holds: m.riddle(h), Fault: faultproxy.RejectItems{
			Share: 1, Holds: m.riddle(h), Status: http.StatusBadRequest, Type: "mystery_exception",
		}}
	}
	// Of no worker that takes over, since all of them learn how far the shard is.
	anew := faultproxy.Rule{Name: "anew", Operation: "GetShardIterator", Holds: "TRIM_HORIZON", Fault: faultproxy.Throttle()}

	// The old house alone, which leaves one of two shards to the new one.
	m.elasticsearch.Set(riddle(m.was))
	m.collect(m.was)
	m.work(m.was, 1)
	m.must(m.was.StartWorkflows(t.Context()))
	m.must(m.was.StartBackup(t.Context()))
	c := newConflict(m.system)
	const events = 60
	bad := c.events(0, events)
	old := m.ask(m.was, riddles)
	m.await(func() error {
		if m.deadEvents() == 0 {
			return errors.New("the old worker has written no dead letter")
		}
		return nil
	})
	letters := m.letterKeys()

	// Side by side, and from now on under load.
	senders := map[*house]*load.Sender{m.was: m.load(m.was)}
	m.collect(m.is)
	m.work(m.is, 4)
	senders[m.is] = m.load(m.is)
	group, ctx := errgroup.WithContext(t.Context())
	for _, sender := range senders {
		group.Go(func() error { return sender.Run(ctx) })
	}
	m.awaitOwners(m.was, m.is)
	m.awaitOwners(m.is, m.was)
	m.await(func() error {
		if dead := m.deadEvents(); dead != bad {
			return fmt.Errorf("%d records are in the ledger, want %d", dead, bad)
		}
		return nil
	})
	m.aws.Set(anew)

	m.kill(m.was, m.is)
	m.awaitOwners(m.is)
	m.replay(m.is)
	m.elasticsearch.Set(riddle(m.is))
	m.finish(m.is, old)
	c.mend()
	m.reprocess(m.is, letters...)
	young := m.ask(m.is, riddles)

	m.collect(m.was)
	m.work(m.was, 4)
	m.kill(m.is, m.was)
	m.awaitOwners(m.was)
	m.replay(m.was)
	m.elasticsearch.Set()
	m.finish(m.was, young)
	m.reprocess(m.was, "--direct", "--error", "amount")
	m.resend(senders[m.is], m.was)

	m.collect(m.is)
	m.work(m.is, 4)
	senders[m.was].Stop()
	m.must(m.was.collector.Stop()) // after its last answers, as a deployment ends it
	m.must(m.was.worker.Stop())
	m.awaitOwners(m.is)
	m.resend(senders[m.was], m.is)
	m.replay(m.is)
	senders[m.is].Stop()
	m.must(group.Wait())

	m.finish(m.is, m.running("ProcessBatch")) // riddles that came in a later chunk than the others
	m.checkRecords(events+2*riddles, slices.Collect(maps.Values(senders))...)
	m.checkChain()
	if times, _ := m.aws.Count("anew"); times > 0 {
		t.Errorf("shards were read from their beginning %d times", times)
	}
	_, err := m.is.Starter(t.Context(), "backup", "stop")
	m.must(err)
	m.checkHistories(old, young)
}

// load is one to the collector of a house.
func (m *mixed) load(h *house) *load.Sender {
	return load.NewSender(
		&load.Source{Run: m.tenant + "-" + h.name, Start: time.Now(), Interval: time.Millisecond, BadShare: 0.02},
		load.Settings{URL: h.collector.URL, Key: m.key, Rate: 50, Duplicates: 0.1, GiveUpAfter: time.Hour},
	)
}

// resend sends to a house what was sent to the other one.
func (m *mixed) resend(what *load.Sender, to *house) {
	m.t.Helper()
	m.await(func() error {
		for n := range uint64(resent) {
			if !what.Accepted.Has(n) {
				return fmt.Errorf("record %d of %d is not accepted yet", n, resent)
			}
		}
		return nil
	})
	m.must(load.NewSender(what.Source, load.Settings{URL: to.collector.URL, Key: m.key, Records: resent}).Run(m.t.Context()))
}

// riddle is what the ids begin with of what a house is to find undecided.
func (m *mixed) riddle(h *house) string { return "riddle-" + h.name + "-" }

// ask posts records of which a house does not know what to think, and returns
// the batches that it begins of them while the other one is away.
func (m *mixed) ask(h *house, records int) (batches []string) {
	m.t.Helper()
	before := m.running("ProcessBatch")
	var body bytes.Buffer
	for n := range records {
		fmt.Fprintf(&body, `{"id":"%s%d","type":"event","timestamp":%q}`+"\n", m.riddle(h), n, time.Now().UTC().Format(time.RFC3339))
	}
	m.post("/v1/telemetry", "application/x-ndjson", body.Bytes(), http.StatusAccepted)
	m.await(func() error {
		batches = slices.DeleteFunc(m.running("ProcessBatch"), func(id string) bool { return slices.Contains(before, id) })
		if len(batches) == 0 {
			return errors.New("no batch has begun")
		}
		for _, id := range batches {
			if !slices.Contains(m.history(id, "").workers, h) {
				return fmt.Errorf("%s has not worked on %s", h.name, id)
			}
		}
		return nil
	})
	return batches
}

// finish lets a house bring batches to their end.
func (m *mixed) finish(by *house, batches []string) {
	m.t.Helper()
	for _, id := range batches {
		if _, err := by.Starter(m.t.Context(), "batch", "retry", id); err != nil && slices.Contains(m.running("ProcessBatch"), id) {
			m.t.Error(err)
		}
	}
	m.await(func() error {
		for _, id := range m.running("ProcessBatch") {
			if slices.Contains(batches, id) {
				return fmt.Errorf("%s still runs", id)
			}
		}
		return nil
	})
}

// deadEvents counts the records of the conflict that the ledger has.
func (m *mixed) deadEvents() (records int) {
	m.t.Helper()
	for id := range m.ledger() {
		if strings.HasPrefix(id, "event-") {
			records++
		}
	}
	return records
}

func (m *mixed) letterKeys() (keys []string) {
	m.t.Helper()
	for _, g := range m.groups() {
		if !g.Held {
			keys = append(keys, g.Keys...)
		}
	}
	return keys
}

// reprocess lets a house bring dead letters of the other one home.
func (m *mixed) reprocess(by *house, which ...string) {
	m.t.Helper()
	before := m.deadEvents()
	said, err := by.Starter(m.t.Context(), append([]string{"dlq", "reprocess", "--wait"}, which...)...)
	m.must(err)
	if !strings.Contains(said, "done") || m.deadEvents() >= before {
		m.t.Errorf("%s leaves %d of %d dead letters:\n%s", by.name, m.deadEvents(), before, said)
	}
}

// checkRecords waits until everything that was accepted has arrived, and holds
// that each record has once.
func (m *mixed) checkRecords(others uint64, senders ...*load.Sender) {
	m.t.Helper()
	var sent []audit.Sent
	for _, sender := range senders {
		if counts := sender.Counts(); counts.Refused+counts.GivenUp > 0 || counts.Accepted < resent || counts.Duplicates == 0 {
			m.t.Fatalf("a sender counts %+v", counts)
		}
		sent = append(sent, audit.Sent{Source: sender.Source, Accepted: &sender.Accepted})
	}
	var report audit.Report
	m.await(func() (err error) {
		report, err = audit.Run(m.t.Context(), m.stores, sent...)
		switch {
		case err != nil:
		case report.Lost > 0:
			err = report.Clean()
		case report.Others+report.OthersDead < others:
			err = fmt.Errorf("%d records of others have arrived, want %d", report.Others+report.OthersDead, others)
		}
		return err
	})
	if err := report.Clean(); err != nil {
		m.t.Error(err)
	}
	if report.Bad == 0 || report.DeadLettered != report.Bad || report.Others != others || report.Unanswered+report.OthersDead > 0 {
		m.t.Errorf("the report is %+v", report)
	}
	m.t.Logf("%d accepted, %d indexed, %d dead-lettered", report.Accepted, report.Indexed, report.DeadLettered)
}

// checkChain holds that the backup has what the stream has, each record once,
// in chains without a gap.
func (m *mixed) checkChain() {
	m.t.Helper()
	opened, err := stream.Open(m.t.Context(), kinesis.NewFromConfig(localtest.AWS(m.t)), m.resources.Stream, stream.Settings{})
	m.must(err)
	m.awaitWholeBackup(opened)
	bucket := archive.Open(m.stores.S3, m.resources.Bucket).Under(backup.Prefix)
	window := backup.Window{To: time.Now().Add(time.Hour)}
	looking := backup.FindBreaks(bucket, window)
	objects := 0
	for object, err := range backup.Follow(m.t.Context(), bucket, window) {
		m.must(err)
		m.must(looking.Add(m.t.Context(), object))
		objects++
	}
	breaks, err := looking.End(m.t.Context())
	m.must(err)
	if len(breaks) > 0 || objects < 4 {
		m.t.Errorf("of %d objects the chains have breaks: %+v", objects, breaks)
	}
}

// story is what a history says.
type story struct {
	workers  []*house // one after the other, who worked on the workflow
	failures []string
}

func (s story) String() string {
	var names []string
	for _, h := range s.workers {
		names = append(names, h.name)
	}
	return strings.Join(names, " ")
}

// history reads that of a workflow.
func (m *mixed) history(id, run string) (s story) {
	m.t.Helper()
	events := m.operator.GetWorkflowHistory(m.t.Context(), id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		m.must(err)
		for _, h := range []*house{m.was, m.is} {
			if done := event.GetWorkflowTaskCompletedEventAttributes(); h.has(done.GetIdentity()) &&
				(len(s.workers) == 0 || s.workers[len(s.workers)-1] != h) {
				s.workers = append(s.workers, h)
			}
		}
		if why := failure(event); why != "" {
			s.failures = append(s.failures, why)
		}
	}
	return s
}

// failure is why a worker could not do what a workflow or an activity asked for:
// it does not know the type, or understands what another one has written
// otherwise.
func failure(event *history.HistoryEvent) string {
	failed := event.GetWorkflowTaskFailedEventAttributes()
	// Temporal's way to say that a signal came while a workflow was about to end.
	if failed != nil && failed.GetCause() != enums.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND {
		return fmt.Sprintf("%s: %s", failed.GetCause(), failed.GetFailure().GetMessage())
	}
	why := event.GetActivityTaskStartedEventAttributes().GetLastFailure().GetMessage()
	for _, strange := range []string{"unable to decode", "unable to find activityType"} {
		if strings.Contains(why, strange) {
			return why
		}
	}
	return ""
}

// checkHistories holds that no house was at a loss with a workflow of the other
// one, and that they had to do with each other's.
func (m *mixed) checkHistories(old, young []string) {
	m.t.Helper()
	of := map[string]map[string]int{} // how many workflows of a type these houses worked on
	m.each(func(info *workflow.WorkflowExecutionInfo) {
		id, kind := info.GetExecution().GetWorkflowId(), info.GetType().GetName()
		s := m.history(id, info.GetExecution().GetRunId())
		if len(s.failures) > 0 {
			m.t.Errorf("%s, on which %s have worked, says %q", id, s, s.failures)
		}
		switch info.GetStatus() {
		case enums.WORKFLOW_EXECUTION_STATUS_RUNNING:
			m.await(func() error { return m.stuck(id) })
		case enums.WORKFLOW_EXECUTION_STATUS_FAILED, enums.WORKFLOW_EXECUTION_STATUS_TIMED_OUT, enums.WORKFLOW_EXECUTION_STATUS_TERMINATED:
			m.t.Errorf("%s is %s", id, info.GetStatus())
		}
		if of[kind] == nil {
			of[kind] = map[string]int{}
		}
		of[kind][s.String()]++
		for what, batches := range map[string][]string{"old new": old, "new old": young} {
			if slices.Contains(batches, id) && s.String() != what {
				m.t.Errorf("%s have worked on %s, want %s", s, id, what)
			}
		}
	})
	for _, kind := range []string{"ProcessStream", "ProcessShard", "BackupStream", "BackupShard"} {
		for houses := range of[kind] {
			if !strings.Contains(houses, "old new old new") {
				m.t.Errorf("%s have worked on a %s, want each house twice", houses, kind)
			}
		}
	}
	m.t.Logf("the houses worked on %v", of)
}

// each lists all workflows.
func (m *mixed) each(take func(*workflow.WorkflowExecutionInfo)) {
	m.t.Helper()
	var next []byte
	for {
		page, err := m.operator.ListWorkflow(m.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{NextPageToken: next})
		m.must(err)
		for _, info := range page.GetExecutions() {
			take(info)
		}
		if next = page.GetNextPageToken(); len(next) == 0 {
			return
		}
	}
}

// stuck says whether the next step of a workflow fails again and again, of which
// its history has the first time at most.
func (m *mixed) stuck(id string) error {
	described, err := m.operator.DescribeWorkflowExecution(m.t.Context(), id, "")
	if err == nil && described.GetPendingWorkflowTask().GetAttempt() > 1 {
		err = fmt.Errorf("%s makes attempt %d at a step", id, described.GetPendingWorkflowTask().GetAttempt())
	}
	return err
}
