package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace/deploy/pipeline"
	"millrace/internal/load"
	"millrace/internal/telemetry"
	"millrace/test/hostile"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// stranger is the tenant that does harm beside a scenario's own.
const stranger = "faults-stranger"

// tenants are what others do, and what careless clients send: the load beside it
// may not notice.
var tenants = []scenario{
	{
		number: 34, name: "another-beyond-its-quota", alarms: alarms.Expected{May: alarms.Late}, lasts: 35 * time.Second, fault: beside(hostile.Flood),
		check: func(ctx context.Context, s *running, report audit.Report) error {
			if s.stranger.Answers("429") == 0 {
				return found("no request was answered 429: %s", s.stranger.Said())
			}
			return unnoticed(ctx, s, report)
		},
	},
	{number: 35, name: "connections-that-say-nothing", lasts: 20 * time.Second, fault: beside(hostile.BeSilent), check: unnoticed},
	{
		number: 36, name: "amplified-bodies", alarms: alarms.Expected{May: alarms.Late}, lasts: 30 * time.Second, fault: beside(hostile.Amplify),
		check: func(ctx context.Context, s *running, report audit.Report) error {
			peak, err := pipeline.PeakMemory(s.collector.Pid())
			if err != nil {
				return fmt.Errorf("the collector has ended: %w", err)
			}
			if peak>>20 > mostCollectorMiB {
				return found("the collector took %d MiB, more than %d", peak>>20, mostCollectorMiB)
			}
			return unnoticed(ctx, s, report)
		},
	},
	{
		number: 37, name: "records-of-fifteen-years", alarms: alarms.Expected{May: alarms.AndLate("ElasticsearchIsTheLimit", "ShardLags")}, lasts: 20 * time.Second, fault: beside(hostile.ScatterDates),
		prepare: func(ctx context.Context, s *running) error {
			names, err := s.indices(ctx, "telemetry-*")
			s.before = float64(len(names))
			return err
		},
		check: func(ctx context.Context, s *running, report audit.Report) error {
			names, err := s.indices(ctx, "telemetry-*")
			if err != nil {
				return err
			}
			if made := len(names) - int(s.before); made > mostIndicesMade {
				return found("%d indices were made, more than %d", made, mostIndicesMade)
			}
			return unnoticed(ctx, s, report)
		},
	},
	{
		number: 38, name: "records-of-the-future",
		prepare: func(_ context.Context, s *running) error {
			s.sent.Source.Start = time.Date(2033, 5, 1, 8, 0, 0, 0, time.UTC)
			return nil
		},
		check: func(ctx context.Context, s *running, _ audit.Report) error {
			names, err := s.indices(ctx, "telemetry-*-2033*")
			if err == nil && len(names) > 0 {
				return found("the future has indices: %v", names)
			}
			return err
		},
	},
	{
		number: 39, name: "retry-across-the-late-boundary", alarms: alarms.Expected{May: alarms.AndLate("NothingIsProcessed")}, fault: postLate,
		prepare: func(_ context.Context, s *running) error {
			s.sent.Source.Start = time.Now().AddDate(0, 0, -daysLate)
			return nil
		},
	},
	{number: 40, name: "same-id-other-content", alarms: alarms.Expected{Must: []string{"IdsInConflict"}, May: alarms.AndLate("NothingIsProcessed")}, fault: postOthersContent},
	{
		number: 41, name: "heads-of-another", alarms: alarms.Expected{May: alarms.AndLate("DeadLettersRise", "TenantsOffend")}, lasts: 20 * time.Second, fault: beside(hostile.Pretend),
		check: func(ctx context.Context, s *running, report audit.Report) error {
			if s.stranger.Answers("202") == 0 {
				return fmt.Errorf("nothing that pretends was taken: %s", s.stranger.Said())
			}
			if report.Others+report.OthersDead > 0 {
				return found("%d documents and %d dead letters are in the name of a tenant that has not sent them", report.Others, report.OthersDead)
			}
			return unnoticed(ctx, s, report)
		},
	},
	{number: 46, name: "one-index-write-blocked", alarms: alarms.Expected{Must: alarms.AndLate("ShardLags")}, ownDay: true, lasts: 20 * time.Second, fault: blockWrites},
	{number: 45, name: "one-bad-record-a-request", alarms: alarms.Expected{May: alarms.AndLate("DeadLettersRise", "TenantsOffend")}, fault: postOneBadSpan, settle: awaitGoodSpans},
}

const (
	// mostCollectorMiB and mostIndicesMade are those of the test of abuse. The
	// collector may have served other scenarios before.
	mostCollectorMiB = 600
	mostIndicesMade  = 140
)

// finding is what a scenario finds wrong with the pipeline beside what the audit
// finds.
type finding struct{ what string }

// Error implements error.
func (f finding) Error() string { return f.what }

func found(format string, args ...any) error { return finding{fmt.Sprintf(format, args...)} }

// beside lets a stranger do harm while the load goes on.
func beside(attack func(context.Context, *hostile.Attacker) error) func(context.Context, *running) error {
	return func(ctx context.Context, s *running) error {
		s.stranger = hostile.New(s.collector.URL, s.collector.GRPC, s.keys[stranger], s.tenant())
		ctx, enough := context.WithTimeout(ctx, s.lasts)
		defer enough()
		return attack(ctx, s.stranger)
	}
}

// unnoticed asks that the load was never told to come again, and that a stranger
// did something meanwhile.
func unnoticed(_ context.Context, s *running, _ audit.Report) error {
	if s.stranger.Said() == "" {
		return fmt.Errorf("the stranger has done nothing")
	}
	if again := s.sender.Counts().Retries; again > 0 {
		return found("the load had to come again %d times", again)
	}
	return nil
}

// indices names those that match a pattern.
func (s *running) indices(ctx context.Context, pattern string) (names []string, err error) {
	text, err := s.ask(ctx, http.MethodGet, "/_cat/indices/"+pattern+"?format=json&expand_wildcards=all", "")
	if err != nil {
		return nil, err
	}
	var listed []struct{ Index string }
	if err := json.Unmarshal(text, &listed); err != nil {
		return nil, fmt.Errorf("read the list of indices: %w", err)
	}
	for _, i := range listed {
		names = append(names, i.Index)
	}
	return names, nil
}

// daysLate lies within the window of daily indices, and beyond that of a
// collector whose window is one day.
const daysLate = 4

// postLate posts records again to a collector for which they are so old that
// their index is that of the year: as a retry does that comes days later. Each
// must be found where it is.
func postLate(ctx context.Context, s *running) error {
	if err := s.awaitAccepted(ctx, 0.5); err != nil {
		return err
	}
	// Without its cache of ids the worker can but ask the index.
	if err := s.kill(ctx, s.worker); err != nil {
		return err
	}
	late, err := s.pipeline.StartCollector(ctx, "MILLRACE_INDEX_DAYS_BACK=1")
	if err != nil {
		return err
	}
	var again [][]byte
	for n := range s.sender.Accepted.All() {
		again = append(again, s.sent.Source.Append(nil, n))
	}
	again = append(again, fmt.Appendf(nil, `{"id":"late-%s","type":"log","timestamp":%q}`, s.sent.Source.Run, s.sent.Source.Start.UTC().Format(time.RFC3339)))
	for part := range slices.Chunk(again, perPost) {
		body := slices.Concat([]byte("["), bytes.Join(part, []byte(",")), []byte("]"))
		if _, err := s.call(ctx, http.MethodPost, late.URL+"/v1/telemetry", bytes.NewReader(body), http.Header{"Authorization": {"ApiKey " + s.key}}); err != nil {
			return err
		}
	}
	// What has never been there shows where such records go.
	year := "/" + telemetry.IndexPrefix + "log-" + s.sent.Source.Start.UTC().Format("2006")
	if err := s.until(ctx, func() (bool, error) {
		_, err := s.ask(ctx, http.MethodPost, year+"/_refresh", "")
		var refused *refusal
		if errors.As(err, &refused) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		n, err := s.countIn(ctx, year, fmt.Sprintf(`{"query":{"term":{"tenant":%q}}}`, s.tenant()))
		return n > 0, err
	}); err != nil {
		s.missed = found("nothing late is in the index of its year: %v", err)
	}
	return late.Stop()
}

// conflicts is how many records are posted again with another content.
const conflicts = 200

// postOthersContent posts records that were accepted once more, with the same
// ids and other members. The audit sees whether the first has won.
func postOthersContent(ctx context.Context, s *running) error {
	if err := s.awaitAccepted(ctx, 0.5); err != nil {
		return err
	}
	// Without its cache of ids the worker can but ask the index.
	if err := s.kill(ctx, s.worker); err != nil {
		return err
	}
	posted := 0
	for n := range s.sender.Accepted.All() {
		record := s.sent.Source.Append(nil, n)
		other := bytes.Replace(record, []byte(`"service.name":"`), []byte(`"service.name":"other-`), 1)
		if bytes.Equal(record, other) {
			return fmt.Errorf("record %d has no service.name", n)
		}
		status, answer, err := s.post(ctx, slices.Concat([]byte("["), other, []byte("]")))
		if err != nil || status >= http.StatusInternalServerError {
			return fmt.Errorf("a record with the content of another is answered %d: %.200s: %w", status, answer, err)
		}
		if posted++; posted == conflicts {
			return nil
		}
	}
	return fmt.Errorf("only %d records were there to be posted again", posted)
}

// blockWrites takes one index out of service, alone, and puts it back.
func blockWrites(ctx context.Context, s *running) error {
	settings := "/" + s.index("log") + "/_settings"
	const sees = "index write (api)"
	watch := faultproxy.NewWatch(sees)
	s.harness.elasticsearch.Set(faultproxy.Rule{Name: "46 watched", Path: "/_bulk", Fault: watch})
	if err := s.until(ctx, func() (bool, error) { // until it is there
		_, err := s.ask(ctx, http.MethodPut, settings, fmt.Sprintf(writeBlocked, "true"))
		var refused *refusal
		if errors.As(err, &refused) {
			return false, nil
		}
		return err == nil, err
	}); err != nil {
		return fmt.Errorf("the index that is to be blocked is not there: %w", err)
	}
	if err := s.until(ctx, func() (bool, error) { return watch.Seen(sees) > 0, nil }); err != nil {
		return fmt.Errorf("no request has met the block: %w", err)
	}
	if err := s.hold(ctx, s.lasts, "ShardLags"); err != nil {
		return err
	}
	_, err := s.ask(ctx, http.MethodPut, settings, fmt.Sprintf(writeBlocked, "null"))
	return err
}

const (
	spanRequests, spansEach = 50, 10
)

// postOneBadSpan posts OTLP in JSON of which one span of each request cannot be
// used.
func postOneBadSpan(ctx context.Context, s *running) error {
	for request := range spanRequests {
		var spans []string
		for n := range spansEach {
			trace := fmt.Sprintf("%032x", request*spansEach+n+1)
			if n == spansEach/2 {
				trace = "no trace"
			}
			now := time.Now().UnixNano()
			spans = append(spans, fmt.Sprintf(`{"traceId":%q,"spanId":"%016x","name":%q,"kind":2,"startTimeUnixNano":"%d","endTimeUnixNano":"%d"}`,
				trace, n+1, s.sent.Source.Run, now, now))
		}
		body := `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(spans, ",") + `]}]}]}`
		answer, err := s.call(ctx, http.MethodPost, s.collector.URL+"/v1/traces", strings.NewReader(body), http.Header{"Authorization": {"ApiKey " + s.key}})
		if err != nil {
			s.missed = found("a request with one bad span is refused: %v", err)
			return nil
		}
		if !strings.Contains(string(answer), `"rejectedSpans":"1"`) && !strings.Contains(string(answer), `"rejectedSpans":1`) {
			s.missed = found("a request with one bad span is answered %.200s", answer)
			return nil
		}
	}
	return nil
}

// awaitGoodSpans asks that the neighbours of the bad ones are there.
func awaitGoodSpans(ctx context.Context, s *running) error {
	if s.missed != nil {
		return nil // they were not taken
	}
	query := fmt.Sprintf(`{"query":{"bool":{"filter":[{"term":{"tenant":%q}},{"term":{"name":%q}}]}}}`, s.tenant(), s.sent.Source.Run)
	const want = spanRequests * (spansEach - 1)
	spans := 0
	if err := s.until(ctx, func() (bool, error) {
		if _, err := s.stores.Indexed(ctx); err != nil { // refreshes
			return false, err
		}
		var err error
		spans, err = s.count(ctx, query)
		return spans >= want, err
	}); err != nil || spans > want {
		return found("%d of %d good spans are there: %v", spans, want, err)
	}
	return nil
}

// outages are those of what the way of a record leads through, at moments at
// which it matters.
var outages = []scenario{
	{
		number: 31, name: "dead-letter-queue-down", alarms: alarms.Expected{May: alarms.AndLate("DeadLettersRise", "DeadLettersUntold")}, bad: 0.003, spans: 15 * time.Second,
		aws: []faultproxy.Rule{{Name: "31 letters", Operation: "SendMessageBatch", Holds: letters, Fault: faultproxy.Reset{}}},
		fault: func(ctx context.Context, s *running) error {
			s.breakAll()
			if err := s.until(ctx, func() (bool, error) { return s.seen() == nil, nil }); err != nil {
				return s.seen()
			}
			return s.awaitGood(ctx, "nothing reports bad ones")
		},
	},
	{number: 32, name: "dead-letter-queue-is-strict", alarms: alarms.Expected{May: alarms.AndLate("DeadLettersRise")}, bad: 0.001, fault: giveUpStrangeIDs, settle: awaitStrangeLetters},
	{
		number: 33, name: "ledger-down", alarms: alarms.Expected{May: alarms.AndLate("DeadLettersRise", "ShardWaiting")}, bad: 0.003, lasts: 5 * time.Second,
		fault: func(ctx context.Context, s *running) error {
			rule := faultproxy.Rule{Name: "33 ledger", Method: http.MethodPut, Path: "/" + s.resources.Bucket + "/ledger/", Fault: faultproxy.Reset{}}
			s.harness.aws.Set(rule)
			if err := s.until(ctx, func() (bool, error) {
				times, _ := s.harness.aws.Count(rule.Name)
				return times > 0, nil
			}); err != nil {
				return fmt.Errorf("no worker has written to the ledger: %w", err)
			}
			return s.hold(ctx, s.lasts)
		},
	},
	{
		number: 42, name: "collector-killed-again-and-again", alarms: alarms.Expected{May: alarms.AndLate("TargetDown")}, spans: 15 * time.Second,
		aws: []faultproxy.Rule{{Name: "42 slow", Operation: "PutRecords", Fault: faultproxy.Delay{After: time.Second / 2}}},
		fault: func(ctx context.Context, s *running) error {
			for kill := range 3 {
				s.breakAll()
				if err := s.awaitAccepted(ctx, 0.2*float64(kill+1)); err != nil {
					return err
				}
				if err := s.kill(ctx, s.collector); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{number: 26, name: "start-in-outage", alarms: alarms.Expected{Must: alarms.AndLate("FallbackQueueStands", "NoCollector", "NothingIsProcessed", "TargetDown"), May: []string{"FallbackQueueAges", "FallbackQueueUsed", "NoWorker"}}, spans: 30 * time.Second, aws: slices.Concat(withoutQueue, withoutStream), fault: startInOutage},
	{number: 43, name: "collector-started-without-temporal", alarms: alarms.Expected{May: alarms.Late}, spans: 15 * time.Second, fault: startWithoutTemporal},
	{number: 44, name: "worker-started-without-elasticsearch", alarms: alarms.Expected{Must: alarms.AndLate("DependencyMissing", "ElasticsearchBacksOff", "ElasticsearchFails", "ShardWaiting"), May: []string{"ElasticsearchIsTheLimit", "NothingIsProcessed", "ShardLags"}}, lasts: 10 * time.Second, fault: startWithoutElasticsearch},
}

// letters stands in each dead letter, and in no other message.
const letters = "KinesisBatchInfo"

// awaitGood waits until all good records are indexed, though something is away.
func (s *running) awaitGood(ctx context.Context, although string) error {
	good := uint64(0)
	for n := range s.options.Records {
		if !s.sent.Source.Bad(n) {
			good++
		}
	}
	var indexed uint64
	if err := s.until(ctx, func() (bool, error) {
		var err error
		indexed, err = s.stores.Indexed(ctx)
		return indexed >= good, err
	}); err != nil {
		return fmt.Errorf("%d of %d good records are indexed while %s: %w", indexed, good, although, err)
	}
	return nil
}

// strangeID has what JSON may hold and SQS refuses.
func (s *running) strangeID(n int) string {
	return fmt.Sprintf("%s-strange-%d-\ufffe\uffff\x01", s.sent.Source.Run, n)
}

const strangeIDs = 3

// giveUpStrangeIDs posts records whose dead letters a strict queue would refuse if
// they had the ids as they are.
func giveUpStrangeIDs(ctx context.Context, s *running) error {
	s.harness.aws.Set(faultproxy.Rule{Name: "32 strict", Operation: "SendMessageBatch", Holds: letters, Fault: faultproxy.StrictMessages{}})
	var records []map[string]string
	for n := range strangeIDs {
		records = append(records, map[string]string{
			"id": s.strangeID(n), "type": "span", "timestamp": time.Now().UTC().Format(time.RFC3339), "duration": load.BadDuration,
		})
	}
	body, err := json.Marshal(records)
	if err != nil {
		return fmt.Errorf("encode records: %w", err)
	}
	if status, answer, err := s.post(ctx, body); err != nil || status != http.StatusAccepted {
		return fmt.Errorf("records with strange ids are answered %d: %.200s: %w", status, answer, err)
	}
	told := s.awaitTold(ctx)
	if told != nil {
		s.missed = found("%v", told)
	}
	return nil
}

// awaitTold waits until the dead-letter queue reports each strange id.
func (s *running) awaitTold(ctx context.Context) error {
	missing := ""
	if err := s.until(ctx, func() (bool, error) {
		missing = ""
		for n := range strangeIDs {
			told, err := s.stores.TellsOf(ctx, s.strangeID(n))
			if err != nil {
				return false, err
			}
			if !told {
				missing = s.strangeID(n)
			}
		}
		return missing == "", nil
	}); err != nil {
		return fmt.Errorf("the dead-letter queue does not report %q: %w", missing, err)
	}
	return nil
}

// awaitStrangeLetters asks that no id was replaced by what the queue takes.
func awaitStrangeLetters(ctx context.Context, s *running) error {
	if s.missed != nil {
		return nil
	}
	return s.awaitTold(ctx)
}
