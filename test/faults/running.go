package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/load"
	"millrace/internal/telemetry"
	"millrace/test/hostile"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
	"millrace/test/kit/poll"
)

const (
	connections, perPost = 16, 50

	// beyond is by how much a load is longer than the fault in it, and leadIn
	// the share of it that comes before the fault.
	beyond, leadIn = 1.5, 0.1
)

// running is a scenario under way.
type running struct {
	*harness
	scenario
	key    string
	sender *load.Sender
	sent   audit.Sent
	stores audit.Stores
	began  time.Time
	ended  time.Time // when the fault was over

	renewed time.Time // when the shards began new calls

	other *besides // the load of a second tenant, if there was one

	before     float64   // a figure, as it was before the fault, or in it
	deleted    *load.Set // records that were indexed and deleted by intent, or are reported as lost
	terminated []string  // workflows
	stranger   *hostile.Attacker
	missed     error  // what a scenario found wrong on its way
	released   string // path of the worker that one with a bug has replaced

	collector *pipeline.Program   // that the load is posted to: the harness's, if there is no other
	network   *faultproxy.Network // between that and Temporal
}

// records is how many records are posted.
func (s *running) records() uint64 { return max(s.options.Records, s.scenario.records) }

func (s scenario) tenant() string { return "faults-" + strconv.Itoa(s.number) }

// run loads, breaks, waits until everything has arrived, and audits.
func (h *harness) run(ctx context.Context, what scenario) (report audit.Report, err error) {
	began := time.Now()
	s := h.begin(what)
	defer func() {
		h.pass()
		h.last = time.Now()
	}()
	if what.prepare != nil {
		if err := what.prepare(ctx, s); err != nil {
			return report, fmt.Errorf("prepare: %w", err)
		}
	}
	// Only now are the source and the settings what the scenario wants.
	s.sender = load.NewSender(s.sent.Source, load.Settings{
		URL: s.collector.URL, Key: s.key, Records: s.records(), Rate: s.rate(),
		Duplicates: what.duplicates, Connections: connections, PerPost: perPost,
	})
	s.sent.Accepted = &s.sender.Accepted
	if err := s.load(ctx); err != nil {
		return report, err
	}
	if s.deleted != nil {
		s.sent.Accepted = s.sender.Accepted.Without(s.deleted)
	}
	var unsettled error
	if what.settle != nil {
		if unsettled = what.settle(ctx, s); ctx.Err() != nil {
			return report, ctx.Err()
		}
	}
	if report, err = s.await(ctx); err != nil {
		return report, err
	}
	s.row(report, time.Since(s.ended), time.Since(began))
	return report, errors.Join(report.Clean(), unsettled, s.happened(ctx, report))
}

// mostDays is how many scenarios can have a day for themselves: records of the
// last eight days go to an index of their day, older ones to one of their year.
const mostDays = 8

// begin makes records of the scenario's own.
func (h *harness) begin(what scenario) *running {
	if h.options.Outage > 0 && what.lasts > 0 {
		what.lasts = h.options.Outage
	}
	start := time.Now()
	if what.ownDay {
		h.days++
		start = start.UTC().Truncate(24*time.Hour).AddDate(0, 0, -h.days).Add(8 * time.Hour)
	}
	return &running{
		harness: h, scenario: what, began: time.Now(), key: h.keys[what.tenant()], collector: h.collector,
		sent: audit.Sent{Source: &load.Source{
			Run: what.tenant() + "-" + strings.ToLower(rand.Text()[:8]), Start: start, Interval: time.Millisecond, BadShare: what.bad,
		}},
		stores: audit.Stores{
			Elasticsearch: h.stack.Service(local.Elasticsearch).URL(), Tenant: what.tenant(), Bucket: h.resources.Bucket, S3: pipeline.S3(h.stack),
			DeadLetters: h.deadLetters, Queues: h.queues,
		},
	}
}

// rate is how fast records are posted: so slowly that they outlast the fault.
func (s *running) rate() float64 {
	spans := max(beyond*s.lasts.Seconds(), s.spans.Seconds())
	if spans == 0 {
		return s.options.Rate
	}
	return min(s.options.Rate, float64(s.records())/spans)
}

// load posts while the fault goes on, and returns when both are over.
func (s *running) load(ctx context.Context) error {
	if s.fault == nil {
		s.breakAll()
	}
	stop := s.sample(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.sender.Run(ctx) })
	if s.fault != nil {
		group.Go(func() error {
			if err := s.awaitAccepted(ctx, leadIn); err != nil {
				return err
			}
			s.note("the fault begins")
			err := s.fault(ctx, s)
			s.pass()
			s.ended = time.Now()
			s.note("the fault is over")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if s.fault == nil {
		// What the load put on its way shall meet the rules too.
		if err := s.until(ctx, func() (bool, error) { return s.seen() == nil, nil }); err != nil {
			return errors.Join(s.seen(), err)
		}
		s.pass()
		s.ended = time.Now()
	}
	return nil
}

// breakAll sets all rules of the scenario.
func (s *running) breakAll() {
	s.harness.aws.Set(s.scenario.aws...)
	s.harness.elasticsearch.Set(s.scenario.elasticsearch...)
}

// awaitAccepted waits until a share of the load was accepted.
func (s *running) awaitAccepted(ctx context.Context, share float64) error {
	return s.until(ctx, func() (bool, error) {
		return float64(s.sender.Accepted.Len()) >= share*float64(s.records()), nil
	})
}

// await audits until nothing is lost any more, or nothing has moved for as long
// as patience lasts.
func (s *running) await(ctx context.Context) (report audit.Report, err error) {
	last, lost, looked, moved := uint64(0), uint64(0), time.Time{}, time.Now()
	err = poll.Until(ctx, func() (bool, error) {
		indexed, err := s.stores.Indexed(ctx)
		if err != nil {
			return false, err
		}
		if indexed != last {
			moved = time.Now()
		}
		over := time.Since(moved) > s.options.Patience
		// To read everything is dear: only when something may have changed.
		if !over && (indexed == last && time.Since(looked) < 5*time.Second || indexed < s.sent.Accepted.Len()*9/10 && !s.sent.Excused) {
			last = indexed
			return false, nil
		}
		last, looked = indexed, time.Now()
		if report, err = audit.Run(ctx, s.stores, s.sent); report.Lost != lost {
			lost, moved = report.Lost, time.Now()
		}
		return report.Lost == 0 || over, err
	})
	return report, err
}

// happened reports what a scenario needs to prove anything.
func (s *running) happened(ctx context.Context, report audit.Report) error {
	wrong := []error{s.missed, s.seen()}
	miss := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if counts := s.sender.Counts(); counts.Refused+counts.GivenUp > 0 || counts.Accepted != s.records() {
		miss("the sender counts %+v", counts)
	}
	if s.duplicates > 0 && s.sender.Counts().Duplicates == 0 {
		miss("no duplicate was posted")
	}
	if report.DeadLettered != report.Bad+report.Excused || (s.bad > 0 && report.Bad == 0) {
		miss("%d bad records, %d dead-lettered, %d of them excused", report.Bad, report.DeadLettered, report.Excused)
	}
	if s.check != nil {
		wrong = append(wrong, s.check(ctx, s, report))
	}
	return errors.Join(wrong...)
}

// seen returns an error unless every rule stands in a proxy's log.
func (s *running) seen() error {
	var missing []error
	look := func(proxy *faultproxy.Proxy, rules []faultproxy.Rule) {
		for _, rule := range rules {
			if times, _ := proxy.Count(rule.Name); times == 0 {
				missing = append(missing, fmt.Errorf("no fault %q happened", rule.Name))
			}
		}
	}
	look(s.harness.aws, s.scenario.aws)
	look(s.harness.elasticsearch, s.scenario.elasticsearch)
	return errors.Join(missing...)
}

// longest is how long a scenario waits for one thing.
const longest = 2 * time.Minute

// until polls until a condition holds.
func (s *running) until(ctx context.Context, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, longest+s.lasts, errors.New("what the scenario waits for does not come"))
	defer cancel()
	return poll.Until(ctx, condition)
}

// hold lets a fault go on for a while and, where alerts are watched, until those fire that it must cause: how long they
// need depends on the machine. One that stays silent is reported when the scenario is over.
func (s *running) hold(ctx context.Context, d time.Duration, alerts ...string) error {
	if err := poll.For(ctx, d); err != nil || s.watcher == nil {
		return err
	}
	_, err := s.watcher.Fired(ctx, longest, alerts...)
	return err
}

// end kills a program as kill -9 does.
func (s *running) end(ctx context.Context, program *pipeline.Program) error {
	pid := program.Pid()
	program.Kill()
	return s.gone(ctx, pid)
}

// gone waits until a process is no longer in the process table, or dead there:
// its parent may not have asked yet how a grandchild has ended.
func (s *running) gone(ctx context.Context, pid int) error {
	if err := s.until(ctx, func() (bool, error) {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return true, nil
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err == nil && bytes.Contains(stat, []byte(") Z ")), nil
	}); err != nil {
		return fmt.Errorf("process %d outlives its kill: %w", pid, err)
	}
	return nil
}

// kill ends a program as kill -9 does, ends the faults, and starts it again.
func (s *running) kill(ctx context.Context, program *pipeline.Program) error {
	if err := s.end(ctx, program); err != nil {
		return err
	}
	s.pass()
	return program.Restart(ctx)
}

// ask asks Elasticsearch, past the proxy.
func (s *running) ask(ctx context.Context, method, path, body string) ([]byte, error) {
	return s.call(ctx, method, s.stores.Elasticsearch+path, strings.NewReader(body), nil)
}

func (s *running) call(ctx context.Context, method, url string, body io.Reader, header http.Header) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, request.URL.Path, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, request.URL.Path, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return answer, &refusal{status: response.StatusCode, what: fmt.Sprintf("%s %s answered %s: %.300s", method, request.URL.Path, response.Status, answer)}
	}
	return answer, nil
}

// refusal is an answer that is no 2xx.
type refusal struct {
	status int
	what   string
}

// Error says who answered what.
func (r *refusal) Error() string { return r.what }

// post posts a body to the collector once, and returns the status.
func (s *running) post(ctx context.Context, body []byte) (status int, answer []byte, err error) {
	answer, err = s.call(ctx, http.MethodPost, s.collector.URL+"/v1/telemetry", bytes.NewReader(body), http.Header{"Authorization": {"ApiKey " + s.key}})
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.status, answer, nil
	}
	return http.StatusAccepted, answer, err
}

// postAgain posts a body, again and again while the tenant is beyond its quota.
func (s *running) postAgain(ctx context.Context, body []byte) (status int, answer []byte, err error) {
	err = s.until(ctx, func() (bool, error) {
		status, answer, err = s.post(ctx, body)
		return status != http.StatusTooManyRequests, err
	})
	return status, answer, err
}

// count counts the documents that match a query.
func (s *running) count(ctx context.Context, query string) (int, error) {
	return s.countIn(ctx, "/"+telemetry.IndexPrefix+"*", query)
}

// countIn counts those of some indices.
func (s *running) countIn(ctx context.Context, indices, query string) (int, error) {
	text, err := s.ask(ctx, http.MethodPost, indices+"/_count", query)
	if err != nil {
		return 0, err
	}
	var answer struct{ Count int }
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, fmt.Errorf("read the count: %w", err)
	}
	return answer.Count, nil
}

// index names the index of a type on the scenario's own day.
func (s *running) index(recordType string) string {
	return telemetry.IndexName(recordType, s.sent.Source.Start)
}

// shards are the states of the shards, as an operator sees them.
func (s *running) shards(ctx context.Context) (states map[string]string, err error) {
	out, err := s.pipeline.Starter(ctx, "shards", "--json")
	if err != nil {
		return nil, err
	}
	var lines []struct{ Shard, State string }
	if err := json.Unmarshal([]byte(out), &lines); err != nil {
		return nil, fmt.Errorf("read the state of the shards: %w", err)
	}
	states = map[string]string{}
	for _, line := range lines {
		states[line.Shard] = line.State
	}
	return states, nil
}
