package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/proto"

	"millrace/activities/canary"
	"millrace/activities/recovery"
	"millrace/deploy/local"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// withCanary gives the worker a canary.
func withCanary(at *servers) { at.canary = true }

// runCanary has it run every so often, until the test ends.
func (s *system) runCanary(every time.Duration) {
	s.t.Helper()
	s.must(s.StartCanary(s.t.Context(), every))
}

// canaryRuns are how many of its records had a result, by the worker's count.
func (s *system) canaryRuns(result string) float64 {
	s.t.Helper()
	n, err := s.worker.Metric(s.t.Context(), "millrace_canary_runs_total", `region="`+local.Region+`"`, `result="`+result+`"`)
	s.must(err)
	return n
}

// awaitCanary waits for some more records with a result.
func (s *system) awaitCanary(result string, more float64) {
	s.t.Helper()
	before := s.canaryRuns(result)
	s.await(func() error {
		if now := s.canaryRuns(result); now < before+more {
			return fmt.Errorf("%v records are %s, from %v", now, result, before)
		}
		return nil
	})
}

// TestCanaryMeasuresWhatAgentsAndReadersMeet: all is available while all is well; a
// collector that is down, and shards that stand still, are failures.
func TestCanaryMeasuresWhatAgentsAndReadersMeet(t *testing.T) {
	t.Parallel()
	s := start(t, withCanary)
	s.must(s.StartBackup(t.Context()))
	s.runCanary(2 * time.Second)
	s.awaitCanary(canary.Searchable, 5)
	if refused, late := s.canaryRuns(canary.Refused), s.canaryRuns(canary.Late); refused+late > 0 {
		t.Errorf("while all is well, %v records are refused, and %v late", refused, late)
	}
	var health struct {
		Windows []struct{ Availability float64 }
		Last    struct{ Report canary.Report }
	}
	s.await(func() error { // Temporal lists a run after it has ended
		out, err := s.Starter(t.Context(), "canary", "status", "--json")
		s.must(err)
		s.must(json.Unmarshal([]byte(out), &health))
		if len(health.Windows) != 2 || len(health.Last.Report.Probes) != 1 {
			return fmt.Errorf("the status is %s", out)
		}
		return nil
	})
	if health.Windows[0].Availability != 1 || health.Windows[1].Availability != 1 {
		t.Errorf("the availability is %+v", health.Windows)
	}
	s.checkCanarysRecord(health.Last.Report.Probes[0])
	s.checkCanaryIsLeftOut()

	s.must(s.collector.Stop())
	s.awaitCanary(canary.Refused, 2)
	_, err := s.Starter(t.Context(), "canary", "run")
	if err == nil || !strings.Contains(err.Error(), "CanaryFailed: "+local.Region+": refused") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("without a collector it says %v", err)
	}
	s.must(s.collector.Restart(t.Context()))
	s.awaitCanary(canary.Searchable, 1)

	_, err = s.Starter(t.Context(), "stream", "pause")
	s.must(err)
	_, err = s.Starter(t.Context(), "canary", "run", "--within", "3s")
	if err == nil || !strings.Contains(err.Error(), "is late: no search finds it") {
		t.Errorf("while shards stand still it says %v", err)
	}
	_, err = s.Starter(t.Context(), "stream", "resume")
	s.must(err)
	s.awaitCanary(canary.Searchable, 1)
	s.checkCanarysKeyIsNowhere()
}

// checkCanarysRecord: it is where no pattern of telemetry matches, in one shard that
// is refreshed as the others are.
func (s *system) checkCanarysRecord(p canary.Probe) {
	s.t.Helper()
	if p.Result != canary.Searchable || p.Seconds <= 0 || p.Request == "" {
		s.t.Errorf("the last record is %+v", p)
	}
	out, err := s.Starter(s.t.Context(), "find", "--tenant", telemetry.CanaryTenant, p.ID, "--json")
	s.must(err)
	var found map[string]any
	s.must(json.Unmarshal([]byte(out), &found))
	if !strings.Contains(out, `"`+telemetry.CanaryIndex(time.Now())+`"`) && !strings.Contains(out, `"`+telemetry.CanaryIndex(time.Now().AddDate(0, 0, -1))+`"`) {
		s.t.Errorf("its record is found in %s", out)
	}
	if others := s.search(`{"query":{"term":{"tenant":"` + telemetry.CanaryTenant + `"}}}`); len(others) > 0 {
		s.t.Errorf("among telemetry there are %+v", others)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.stores.Elasticsearch+"/"+telemetry.CanaryIndices+"/_settings", nil)
	s.must(err)
	var all map[string]struct {
		Settings struct {
			Index struct {
				Shards  string `json:"number_of_shards"`
				Refresh string `json:"refresh_interval"`
			}
		}
	}
	s.must(json.Unmarshal(s.do(request, http.StatusOK), &all))
	for name, of := range all {
		if _, ok := telemetry.ParseCanaryIndex(name); ok && (of.Settings.Index.Shards != "1" || of.Settings.Index.Refresh != "5s") {
			s.t.Errorf("%s has %+v", name, of.Settings.Index)
		}
	}
}

// checkCanaryIsLeftOut: its records are in the backup, and nothing is replayed of them.
func (s *system) checkCanaryIsLeftOut() {
	s.t.Helper()
	s.postEvents(0)
	s.awaitDocuments(some)
	to := time.Now().UTC() // a replay selects by arrival in the stream, later than the answer to the post
	s.await(func() error {
		var ours, canaries int
		for _, line := range s.inBackup() {
			if telemetry.IsCanary(telemetry.IndexOf(line.Data)) {
				canaries++
			} else {
				ours++
			}
		}
		if ours < some || canaries == 0 {
			return fmt.Errorf("the backup has %d records of the tenant, and %d of the canary", ours, canaries)
		}
		return nil
	})
	var out string
	s.await(func() (err error) { // the backup of both shards is to come that far
		out, err = s.Starter(s.t.Context(), "replay", "--from", to.Add(-time.Hour).Format(time.RFC3339), "--to", to.Add(time.Second).Format(time.RFC3339), "--json")
		return err
	})
	var result recovery.RecoverResult
	s.must(json.Unmarshal([]byte(out), &result))
	if !result.Complete || result.Backfill.Records != some || result.Backfill.Duplicates != some {
		s.t.Errorf("it is replayed, too: %s", out)
	}
}

// checkCanarysKeyIsNowhere that it could be read: not in a history, nor in a log.
func (s *system) checkCanarysKeyIsNowhere() {
	s.t.Helper()
	id := workflows.CanaryID(s.resources.Stream)
	events := 0
	for all := s.operator.GetWorkflowHistory(s.t.Context(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); all.HasNext(); events++ {
		event, err := all.Next()
		s.must(err)
		text, err := proto.Marshal(event)
		s.must(err)
		if strings.Contains(string(text), s.canaryKey) {
			s.t.Errorf("event %d holds the key", event.GetEventId())
		}
	}
	if events == 0 || s.canaryKey == "" {
		s.t.Error("no history was read, or there is no key")
	}
	for _, program := range s.Running() {
		text, err := os.ReadFile(program.Log)
		s.must(err)
		if strings.Contains(string(text), s.canaryKey) {
			s.t.Errorf("%s holds the key", program.Log)
		}
	}
}
