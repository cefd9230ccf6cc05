package config

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gathered are the families of a registry, by name.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, family := range families {
		byName[family.GetName()] = family
	}
	return byName
}

// Dashboards for Temporal's SDK know its metrics by these names, types and units.
func TestSDKMetricsAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	handler, err := newSDKMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	of := handler.WithTags(map[string]string{"operation": "StartWorkflowExecution", "workflow_id": "ingest/1"})
	of.Counter("temporal_request").Inc(2)
	of.Gauge("temporal_worker_task_slots_available").Update(7)
	of.Timer("temporal_request_latency").Record(3 * time.Millisecond)
	of.Timer("temporal_request_latency").Record(4 * time.Minute)
	of.Counter("temporal_sticky_cache_total_forced_eviction").Inc(1)
	of.Counter("temporal_local_activity_total").Inc(1)
	families := gathered(t, registry)
	if len(families) != 5 || families["temporal_sticky_cache_total_forced_eviction_total"] == nil || families["temporal_local_activity_total"] == nil {
		t.Errorf("there are %v", families)
	}
	requests, slots, latency := families["temporal_request_total"], families["temporal_worker_task_slots_available"], families["temporal_request_latency_seconds"]
	if requests.GetType() != dto.MetricType_COUNTER || requests.GetMetric()[0].GetCounter().GetValue() != 2 {
		t.Errorf("the counter is %v", requests)
	}
	if slots.GetType() != dto.MetricType_GAUGE || slots.GetMetric()[0].GetGauge().GetValue() != 7 {
		t.Errorf("the gauge is %v", slots)
	}
	if labels := requests.GetMetric()[0].GetLabel(); len(labels) != 1 || labels[0].GetName() != "operation" {
		t.Errorf("the labels are %v", labels)
	}
	counts := map[float64]uint64{} // up to a bound
	for _, bucket := range latency.GetMetric()[0].GetHistogram().GetBucket() {
		counts[bucket.GetUpperBound()] = bucket.GetCumulativeCount()
	}
	if counts[0.002] != 0 || counts[0.005] != 1 || counts[120] != 1 || counts[300] != 2 {
		t.Errorf("the histogram is %v", counts)
	}
}

func TestSDKMetricsAreBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	handler, err := newSDKMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	const invented = 3 * maxSDKSeries
	for n := range invented {
		handler.WithTags(map[string]string{"workflow_type": fmt.Sprint("invented-", n)}).Counter("temporal_workflow_completed").Inc(1)
	}
	series, total := gathered(t, registry)["temporal_workflow_completed_total"].GetMetric(), 0.0
	for _, one := range series {
		total += one.GetCounter().GetValue()
	}
	if len(series) != maxSDKSeries || total != invented {
		t.Errorf("%d series count %g, want %d that count %d", len(series), total, maxSDKSeries, invented)
	}
}
