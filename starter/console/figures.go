package console

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// What is read of /metrics, by the name that it has here.
const (
	accepted    = "accepted"
	rejected    = "rejected"
	throttled   = "throttled"
	unavailable = "unavailable"
	unread      = "unread"
	byTemporal  = "temporal"
	directly    = "direct"
	toStream    = "stream"
	toQueue     = "queue"
	toLedger    = "buried"
	redriven    = "redriven"
	processed   = "processed"
	indexed     = "indexed"
	duplicates  = "duplicates"
	conflicts   = "conflicts"
	unchecked   = "unchecked"
	deadLetters = "deadLetters"
	parked      = "parked" // of the dead letters
	handedOver  = "handedOver"
	backedUp    = "backedUp"
	recovered   = "recovered"
	losses      = "losses"
	lostCopies  = "lostCopies" // losses of the backup
)

// counters say where they come from: the sum of a metric's series that have the label.
var counters = []struct{ name, metric, label, value string }{
	{accepted, "millrace_api_records_total", "result", "accepted"},
	{rejected, "millrace_api_records_total", "result", "rejected"},
	{throttled, "millrace_api_records_total", "result", "throttled"},
	{unavailable, "millrace_api_records_total", "result", "unavailable"},
	{unread, "millrace_api_records_total", "result", "unread"},
	{byTemporal, "millrace_ingest_records_total", "way", "temporal"},
	{directly, "millrace_ingest_records_total", "way", "direct"},
	{toStream, "millrace_intake_records_total", "where", "stream"},
	{toQueue, "millrace_intake_records_total", "where", "queue"},
	{toLedger, "millrace_intake_records_total", "where", "ledger"},
	{redriven, "millrace_redrive_records_total", "", ""},
	{processed, "millrace_process_records_total", "", ""},
	{indexed, "millrace_process_records_total", "outcome", "indexed"},
	{duplicates, "millrace_process_records_total", "outcome", "duplicate"},
	{conflicts, "millrace_process_records_total", "outcome", "conflict"},
	{unchecked, "millrace_process_records_total", "outcome", "unchecked"},
	{deadLetters, "millrace_process_records_total", "outcome", "dead_letter"},
	{parked, "millrace_process_parked_records_total", "", ""},
	{handedOver, "millrace_process_records_total", "outcome", "handed_over"},
	{backedUp, "millrace_backup_records_total", "", ""},
	{recovered, "millrace_recover_records_total", "", ""},
	{losses, "millrace_process_losses_total", "", ""},
	{lostCopies, "millrace_backup_losses_total", "", ""},
}

// Distributions, which are read like counters, bucket by bucket.
const (
	delays  = "delays"   // from received to indexed
	answers = "answers"  // of collectors, to agents
	durable = "durable/" // and the way: of batches of collectors
	// arriving is from received to put into the stream, of what came by the queue.
	arriving = "arriving"

	// unnamed is the region of collectors that name none.
	unnamed = "unknown"
)

var distributions = []struct{ name, metric, label, value string }{
	{delays, "millrace_delay_seconds", "", ""},
	{answers, "millrace_api_request_seconds", "", ""},
	{arriving, "millrace_redrive_seconds", "", ""},
	{durable + byTemporal, "millrace_ingest_batch_seconds", "way", byTemporal},
	{durable + directly, "millrace_ingest_batch_seconds", "way", directly},
}

// figures are what one look at /metrics of a process has told.
type figures struct {
	counters  map[string]float64
	buckets   map[string]map[float64]float64 // cumulative counts by upper bound, of a distribution
	missing   []string                       // dependencies
	region    string                         // of a collector; empty: it does not say
	regions   []string                       // of the records that a worker has indexed: each has a distribution delays/region
	retention float64                        // of the stream, in seconds; 0: not known
	residual  float64                        // records that audits have found nowhere since the process started
}

// mostMetrics bounds in bytes what is read of an answer of /metrics.
const mostMetrics = 16 << 20

// read reads the answer of /metrics.
func read(body io.Reader) (figures, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(body, mostMetrics))
	if err != nil {
		return figures{}, fmt.Errorf("read the metrics: %w", err)
	}
	f := figures{counters: map[string]float64{}, buckets: map[string]map[float64]float64{}}
	for _, c := range counters {
		for _, m := range families[c.metric].GetMetric() {
			if has(m, c.label, c.value) {
				f.counters[c.name] += m.GetCounter().GetValue()
			}
		}
	}
	for _, d := range distributions {
		f.buckets[d.name] = map[float64]float64{}
		for _, m := range families[d.metric].GetMetric() {
			if has(m, d.label, d.value) {
				addBuckets(f.buckets[d.name], m)
			}
		}
	}
	for _, m := range families["millrace_region_delay_seconds"].GetMetric() {
		region := cmp.Or(label(m, "region"), unnamed)
		if m.GetHistogram().GetSampleCount() > 0 {
			f.regions = append(f.regions, region)
			f.buckets[delays+"/"+region] = map[float64]float64{}
			addBuckets(f.buckets[delays+"/"+region], m)
		}
	}
	for _, m := range families["millrace_dependency_missing"].GetMetric() {
		if m.GetGauge().GetValue() > 0 {
			f.missing = append(f.missing, label(m, "dependency"))
		}
	}
	slices.Sort(f.missing)
	for _, m := range families["millrace_api_region"].GetMetric() {
		f.region = label(m, "region")
	}
	for _, m := range families["millrace_residual_records_total"].GetMetric() {
		f.residual += m.GetCounter().GetValue()
	}
	for _, m := range families["millrace_stream_retention_seconds"].GetMetric() {
		f.retention = m.GetGauge().GetValue()
	}
	return f, nil
}

func addBuckets(to map[float64]float64, m *dto.Metric) {
	for _, b := range m.GetHistogram().GetBucket() {
		to[b.GetUpperBound()] += float64(b.GetCumulativeCount())
	}
	if !hasInfinity(m) {
		to[math.Inf(1)] += float64(m.GetHistogram().GetSampleCount())
	}
}

func hasInfinity(m *dto.Metric) bool {
	buckets := m.GetHistogram().GetBucket()
	return len(buckets) > 0 && math.IsInf(buckets[len(buckets)-1].GetUpperBound(), 1)
}

func has(m *dto.Metric, name, value string) bool { return name == "" || label(m, name) == value }

func label(m *dto.Metric, name string) string {
	for _, pair := range m.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

// grown is how much a counter has grown; one that is smaller has begun anew.
func grown(from, to float64) float64 {
	if to < from {
		return to
	}
	return to - from
}

// quantile estimates one of a distribution as Prometheus does; nil, if it is empty.
func quantile(q float64, buckets map[float64]float64) *float64 {
	bounds := make([]float64, 0, len(buckets))
	for bound := range buckets {
		bounds = append(bounds, bound)
	}
	slices.Sort(bounds)
	total := buckets[math.Inf(1)]
	if total <= 0 || len(bounds) < 2 {
		return nil
	}
	rank, below, least := q*total, 0.0, 0.0
	for _, bound := range bounds {
		if count := buckets[bound]; count >= rank {
			switch {
			case math.IsInf(bound, 1): // longer than the longest bound
				bound = least
			case count > below:
				bound = least + (bound-least)*(rank-below)/(count-below)
			}
			return &bound
		}
		below, least = buckets[bound], bound
	}
	return &least
}
