package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"millrace/deploy/pipeline"
)

// sdkFamilies reads the metrics of the Temporal SDK that a program serves.
func (s *system) sdkFamilies(of *pipeline.Program) map[string]*dto.MetricFamily {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, of.Ops+"/metrics", nil)
	s.must(err)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(s.do(request, http.StatusOK))))
	s.must(err)
	for name := range families {
		if !strings.HasPrefix(name, "temporal_") {
			delete(families, name)
		}
	}
	return families
}

// TestProgramsServeMetricsOfTemporalSDK under the names that Temporal's documentation and dashboards have.
func TestProgramsServeMetricsOfTemporalSDK(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const records = 20
	for n := range records { // each in a batch of its own
		s.post("/v1/telemetry", "application/json", fmt.Appendf(nil, `[{"id":"sdk-%d","type":"log"}]`, n), http.StatusAccepted)
	}
	s.awaitDocuments(records)
	common := []string{
		"temporal_request_total", "temporal_request_latency_seconds", "temporal_long_request_total", "temporal_long_request_latency_seconds",
		"temporal_worker_task_slots_available", "temporal_worker_task_slots_used", "temporal_num_pollers", "temporal_worker_start_total",
		"temporal_workflow_task_execution_latency_seconds", "temporal_sticky_cache_size",
	}
	for program, names := range map[*pipeline.Program][]string{
		s.collector: append(slices.Clone(common), "temporal_workflow_completed_total", "temporal_workflow_endtoend_latency_seconds",
			"temporal_local_activity_execution_latency_seconds"),
		s.worker: append(slices.Clone(common), "temporal_workflow_task_schedule_to_start_latency_seconds",
			"temporal_activity_schedule_to_start_latency_seconds", "temporal_activity_execution_latency_seconds", "temporal_sticky_cache_hit_total"),
	} {
		var families map[string]*dto.MetricFamily
		s.await(func() error { // some are counted only when a call has ended
			families = s.sdkFamilies(program)
			for _, name := range names {
				if families[name] == nil {
					return fmt.Errorf("%s does not serve %s", program.Name, name)
				}
			}
			return nil
		})
		for name, family := range families {
			s.checkSDKFamily(name, family)
		}
	}
	if got := s.sdkFamilies(s.collector)["temporal_request_total"]; !slices.ContainsFunc(got.GetMetric(), func(m *dto.Metric) bool {
		return label(m, "operation") == "StartWorkflowExecution" && label(m, "workflow_type") == "IngestBatch" && m.GetCounter().GetValue() > 0
	}) {
		t.Errorf("the collector counts no start of IngestBatch: %v", got)
	}
}

func label(m *dto.Metric, name string) string {
	for _, pair := range m.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

// checkSDKFamily: no label says whose a record is, or which workflow or run it is of, and histograms tell a millisecond
// from two, and minutes from more.
func (s *system) checkSDKFamily(name string, family *dto.MetricFamily) {
	s.t.Helper()
	known := []string{"namespace", "client_name", "worker_type", "poller_type", "task_queue", "workflow_type", "activity_type", "operation", "status_code", "failure_reason", "cause"}
	for _, m := range family.GetMetric() {
		for _, pair := range m.GetLabel() {
			if !slices.Contains(known, pair.GetName()) {
				s.t.Errorf("%s has the label %s=%q", name, pair.GetName(), pair.GetValue())
			}
			// The tenant's name is that of the stream, which is a part of workflows' ids.
			if value := pair.GetValue(); strings.Contains(value, s.tenant) || strings.ContainsAny(value, "/ ") || len(value) > 50 {
				s.t.Errorf("%s has the label %s=%q", name, pair.GetName(), value)
			}
		}
		if h := m.GetHistogram(); h != nil {
			bounds := h.GetBucket()
			if first, last := bounds[0].GetUpperBound(), bounds[len(bounds)-2].GetUpperBound(); !strings.HasSuffix(name, "_seconds") || first != 0.001 || last != 600 {
				s.t.Errorf("%s is a histogram from %g to %g", name, first, last)
			}
		}
	}
}
