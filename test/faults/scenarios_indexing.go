package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"

	"millrace/internal/telemetry"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// refusesAll is a mapping that no record fits: the region is a name.
const refusesAll = `{"mappings":{"properties":{"region":{"type":"long"}}}}`

// indexing are the faults that Elasticsearch itself makes: the proxy watches
// what it answers.
var indexing = []scenario{
	{
		number: 11, name: "all-poison", alarms: alarms.Expected{Must: alarms.AndLate("ShardHeld", "ShardLags", "ShardTripped"), May: []string{"DeadLettersRise", "NothingIsProcessed"}}, ownDay: true,
		prepare: func(ctx context.Context, s *running) error {
			s.sent.Excused = true // until the circuit opens
			if err := s.hold(ctx, time.Until(s.last.Add(tenantsCount))); err != nil {
				return err
			}
			for _, recordType := range telemetry.Types {
				if _, err := s.ask(ctx, http.MethodPut, "/"+s.index(recordType), refusesAll); err != nil {
					return err
				}
			}
			return s.renewCalls(ctx)
		},
		fault: func(ctx context.Context, s *running) error {
			// One tenant alone opens no circuit.
			other, stop := s.loadOf(ctx, 0)
			err := s.awaitTripped(ctx)
			if err == nil {
				err = s.hold(ctx, 0, "ShardHeld", "ShardLags", "ShardTripped")
			}
			if err = errors.Join(err, stop()); err != nil {
				return err
			}
			s.other = other
			// The fix; what is made instead has the right mapping.
			for _, recordType := range telemetry.Types {
				if _, err := s.ask(ctx, http.MethodDelete, "/"+s.index(recordType), ""); err != nil {
					return err
				}
			}
			return nil
		},
		check: checkGivenUp,
	},
	{
		number: 13, name: "size-limits", alarms: alarms.Expected{May: alarms.AndLate("FallbackQueueAges", "FallbackQueueUsed")}, lasts: 10 * time.Second,
		aws:           []faultproxy.Rule{{Name: "13 throttled", Operation: "PutRecords", Fault: faultproxy.Throttle()}},
		elasticsearch: []faultproxy.Rule{{Name: "13 too large", Path: "/_bulk", AtLeast: 512 << 10, Fault: faultproxy.Answer{Status: http.StatusRequestEntityTooLarge}}},
		prepare:       prepareSizes, settle: retryBatches,
		fault: func(ctx context.Context, s *running) error {
			// Large records take the way through the queue; some are too large for
			// Elasticsearch even alone, which is not their fault.
			s.breakAll()
			if err := s.hold(ctx, s.lasts); err != nil {
				return err
			}
			s.harness.aws.Set()
			return s.until(ctx, func() (bool, error) { return s.seen() == nil, nil })
		},
	},
	{
		number: 14, name: "mapping-conflict", alarms: alarms.Expected{Must: []string{"DeadLettersRise"}, May: alarms.Late}, ownDay: true,
		prepare: func(ctx context.Context, s *running) error {
			s.sent.Dead = func(n uint64) bool { return s.sent.Source.Type(n) == "event" }
			_, err := s.ask(ctx, http.MethodPut, "/"+s.index("event"), refusesAll)
			return err
		},
		check: func(_ context.Context, _ *running, report audit.Report) error {
			if report.Bad == 0 {
				return errors.New("no record met the conflict")
			}
			return nil
		},
	},
	{number: 15, name: "index-out-of-service", alarms: alarms.Expected{Must: alarms.AndLate("ShardLags"), May: []string{"RecordsParked", "ShardWaiting"}}, ownDay: true, spans: 30 * time.Second, prepare: limitShards, fault: putOutOfService},
	{number: 20, name: "index-deleted", alarms: alarms.Expected{May: alarms.Late}, ownDay: true, spans: 10 * time.Second, fault: deleteIndex, check: func(ctx context.Context, s *running, _ audit.Report) error {
		return s.checkMapping(ctx, s.index("span"))
	}},
}

// renewCalls ends the calls of IndexShard, so that the circuits of those that
// begin now have seen nothing.
func (s *running) renewCalls(ctx context.Context) error {
	_, err := s.pipeline.Starter(ctx, "stream", "pause", "--reason", "the scenario needs new circuits")
	if err != nil {
		return err
	}
	s.renewed = time.Now()
	_, err = s.pipeline.Starter(ctx, "stream", "resume")
	return err
}

// letPass is how many bad records a circuit lets pass before it opens. It opens
// when it has judged two tenants, each by 100 records (activities.circuitLeast) or
// more, and the two loads are about as fast; a chunk in which it opens is not
// given up, nor is one that was under way. A probe gives up none while most are
// bad, and is counted here as a call like any other.
const letPass = 4 * 100

// checkGivenUp asks that no more records are in the ledger than the circuits of
// the calls let pass that were begun before the fix.
func checkGivenUp(ctx context.Context, s *running, report audit.Report) error {
	shards, err := s.list(ctx, "WorkflowType='ProcessShard' AND ExecutionStatus='Running'")
	if err != nil {
		return err
	}
	calls := 0
	for _, id := range shards {
		events := s.temporal.GetWorkflowHistory(ctx, id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil {
				return fmt.Errorf("read the history of %s: %w", id, err)
			}
			at := event.GetEventTime().AsTime()
			if event.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == "IndexShard" && at.After(s.renewed) && at.Before(s.ended) {
				calls++
			}
		}
	}
	if most := uint64(calls * letPass); calls == 0 || report.Excused > most {
		return fmt.Errorf("%d records were given up before the circuits opened, more than %d in %d calls", report.Excused, most, calls)
	}
	return nil
}

// awaitTripped waits until every shard stands still for its poison.
func (s *running) awaitTripped(ctx context.Context) error {
	if err := s.until(ctx, func() (bool, error) {
		states, err := s.shards(ctx)
		tripped := 0
		for _, state := range states {
			if state == "tripped" {
				tripped++
			}
		}
		return tripped >= 2, err
	}); err != nil {
		return fmt.Errorf("the circuits do not open: %w", err)
	}
	return nil
}

// tenantsCount is how long a circuit asks what became of a tenant's last records
// (activities.circuitRecent): those of the scenarios before did well.
const tenantsCount = time.Minute

var tooLong = regexp.MustCompile(`is (\d+) bytes long`)

// prepareSizes makes some records as large as a record may be, and others that
// are at the limits of what they go through, and shows that one byte more is
// refused.
func prepareSizes(ctx context.Context, s *running) error {
	sizes := []int{telemetry.MaxRecordSize, 256 << 10, 1<<20 - 1<<12, 64 << 10}
	padding := map[uint64]int{}
	s.sent.Source.Padding = func(n uint64) int { return padding[n] }
	one := func(n uint64, pad int) (int, []byte, error) {
		padding[n] = pad
		return s.postAgain(ctx, slices.Concat([]byte("["), s.sent.Source.Append(nil, n), []byte("]")))
	}
	at := 0
	for n := uint64(50); n < s.options.Records; n += 100 { // one in every other post
		size := sizes[at%len(sizes)]
		at++
		// A collector says how long a record is with what it adds.
		status, answer, err := one(n, telemetry.MaxRecordSize)
		if err != nil {
			return err
		}
		said := tooLong.FindSubmatch(answer)
		if status != http.StatusBadRequest || said == nil {
			return fmt.Errorf("a record that is too long was answered %d: %.200s", status, answer)
		}
		length, _ := strconv.Atoi(string(said[1]))
		pad := telemetry.MaxRecordSize - (length - size)
		if size == telemetry.MaxRecordSize {
			if status, answer, err = one(n, pad+1); err != nil || status != http.StatusBadRequest {
				return fmt.Errorf("a record of one byte too many was answered %d: %.200s: %w", status, answer, err)
			}
		}
		padding[n] = pad
	}
	status, answer, err := s.postAgain(ctx, []byte("["+strings.Repeat(" ", 10<<20)+"]"))
	if err != nil || status != http.StatusRequestEntityTooLarge {
		return fmt.Errorf("a body that is too long was answered %d: %.200s: %w", status, answer, err)
	}
	return nil
}

const (
	shardLimit   = `{"persistent":{"cluster.max_shards_per_node":%s}}`
	floodStage   = `{"index.blocks.read_only_allow_delete":%s}`
	writeBlocked = `{"index.blocks.write":%s}`
)

// outOfService is how long each of them lasts once it was met.
const outOfService = 3 * time.Second

// limitShards leaves no room for the indices of the day.
func limitShards(ctx context.Context, s *running) error {
	_, err := s.ask(ctx, http.MethodPut, "/_cluster/settings", fmt.Sprintf(shardLimit, "1"))
	return err
}

// putOutOfService does to indices what makes Elasticsearch answer 400, 403 and
// 429, and undoes it when it was seen and has lasted.
func putOutOfService(ctx context.Context, s *running) (err error) {
	defer func() { // whatever happens, other scenarios need new indices
		_, undone := s.ask(context.WithoutCancel(ctx), http.MethodPut, "/_cluster/settings", fmt.Sprintf(shardLimit, "null"))
		err = errors.Join(err, undone)
	}()
	span, log := "/"+s.index("span"), "/"+s.index("log")
	steps := []struct {
		sees                     string
		method, path, body, undo string // the same call undoes it, or that path
	}{
		{sees: "validation_exception", method: http.MethodPut, path: "/_cluster/settings", body: fmt.Sprintf(shardLimit, "1"), undo: fmt.Sprintf(shardLimit, "null")},
		{sees: "flood-stage", method: http.MethodPut, path: span + "/_settings", body: fmt.Sprintf(floodStage, "true"), undo: fmt.Sprintf(floodStage, "null")},
		{sees: "index write (api)", method: http.MethodPut, path: span + "/_settings", body: fmt.Sprintf(writeBlocked, "true"), undo: fmt.Sprintf(writeBlocked, "null")},
		{sees: "index_closed_exception", method: http.MethodPost, path: log + "/_close"},
	}
	for _, step := range steps {
		watch := faultproxy.NewWatch(step.sees)
		s.harness.elasticsearch.Set(faultproxy.Rule{Name: "15 watched", Path: "/_bulk", Fault: watch})
		if _, err := s.ask(ctx, step.method, step.path, step.body); err != nil {
			return err
		}
		if err := s.until(ctx, func() (bool, error) { return watch.Seen(step.sees) > 0, nil }); err != nil {
			return fmt.Errorf("no request was answered %q: %w", step.sees, err)
		}
		if err := s.hold(ctx, outOfService); err != nil {
			return err
		}
		path := strings.Replace(step.path, "/_close", "/_open", 1)
		if _, err := s.ask(ctx, step.method, path, step.undo); err != nil {
			return err
		}
		// The next step needs the indices there.
		if err := s.until(ctx, func() (bool, error) {
			_, err := s.ask(ctx, http.MethodGet, "/_cluster/health"+span+","+log[1:]+"?wait_for_status=yellow&timeout=1s", "")
			var refused *refusal
			if errors.As(err, &refused) {
				return false, nil
			}
			return err == nil, err
		}); err != nil {
			return fmt.Errorf("the indices do not come back: %w", err)
		}
	}
	return nil
}

// deleteIndex deletes an index that is written to. What was in it at that
// moment is gone by intent; so no worker writes while it is noted and deleted.
func deleteIndex(ctx context.Context, s *running) error {
	if err := s.awaitAccepted(ctx, 0.4); err != nil {
		return err
	}
	refusal := faultproxy.Rule{Name: "20 quiet", Path: "/_bulk", Fault: faultproxy.Answer{Status: http.StatusTooManyRequests}}
	s.harness.elasticsearch.Set(refusal)
	if err := s.until(ctx, func() (bool, error) {
		n, err := s.worker.Metric(ctx, "millrace_index_requests_in_flight")
		times, _ := s.harness.elasticsearch.Count(refusal.Name)
		return n == 0 && times > 1, err
	}); err != nil {
		return fmt.Errorf("bulks do not end: %w", err)
	}
	there := s.stores
	there.Index = s.index("span")
	found, err := audit.Indexed(ctx, there, s.sent.Source)
	if err != nil {
		return err
	}
	if found.Len() == 0 {
		return errors.New("the index that is to be deleted is empty")
	}
	if _, err := s.ask(ctx, http.MethodDelete, "/"+there.Index, ""); err != nil {
		return err
	}
	s.deleted = found
	return nil
}

// checkMapping compares an index's mapping with that of one which is made
// from the templates at once.
func (s *running) checkMapping(ctx context.Context, name string) error {
	fresh := telemetry.IndexPrefix + "span-fresh"
	if _, err := s.ask(ctx, http.MethodPut, "/"+fresh, ""); err != nil {
		return err
	}
	mapping := func(index string) (string, error) {
		text, err := s.ask(ctx, http.MethodGet, "/"+index+"/_mapping", "")
		return strings.Replace(string(text), index, "", 1), err
	}
	got, err := mapping(name)
	if err != nil {
		return err
	}
	want, err := mapping(fresh)
	if err != nil {
		return err
	}
	if _, err := s.ask(ctx, http.MethodDelete, "/"+fresh, ""); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the index was made again with the mapping %s, want %s", got, want)
	}
	return nil
}
