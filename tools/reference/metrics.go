package reference

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric is a family of metrics.
type Metric struct {
	Name, Type, Help string
	Labels           []string
}

// description is how the client library prints a descriptor, which has no accessors.
var description = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), .*variableLabels: \{([^}]*)\}\}$`)

// Metrics returns what is registered under a prefix, by name.
func Metrics(registry *prometheus.Registry, prefix string) ([]Metric, error) {
	gathered, err := registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	types := map[string]string{}
	for _, family := range gathered {
		types[family.GetName()] = strings.ToLower(family.GetType().String())
	}
	descriptors := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptors)
		registry.Describe(descriptors)
	}()
	var known []*prometheus.Desc // all of them, before typeOf needs the registry
	for d := range descriptors {
		known = append(known, d)
	}
	var all []Metric
	for _, d := range known {
		parts := description.FindStringSubmatch(d.String())
		if parts == nil {
			return nil, fmt.Errorf("read the descriptor %s: the client library prints it differently", d)
		}
		m := Metric{Labels: strings.FieldsFunc(parts[3], func(c rune) bool { return c == ',' })}
		if m.Name, err = strconv.Unquote(parts[1]); err == nil {
			m.Help, err = strconv.Unquote(parts[2])
		}
		if err != nil {
			return nil, fmt.Errorf("read the descriptor %s: %w", d, err)
		}
		if !strings.HasPrefix(m.Name, prefix) {
			continue
		}
		if m.Type = cmp.Or(types[m.Name], typeOf(registry, d)); m.Type == "" {
			return nil, fmt.Errorf("find the type of %s: it has no value yet, and is no vector", m.Name)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Metric) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// described is a collector of one descriptor.
type described struct{ *prometheus.Desc }

// Describe implements prometheus.Collector.
func (d described) Describe(to chan<- *prometheus.Desc) { to <- d.Desc }

// Collect implements prometheus.Collector.
func (described) Collect(chan<- prometheus.Metric) {}

// typeOf returns the type of a vector without values, which Gather leaves out: who registers a descriptor again is told
// which collector has it.
func typeOf(registry *prometheus.Registry, d *prometheus.Desc) string {
	var already prometheus.AlreadyRegisteredError
	if !errors.As(registry.Register(described{d}), &already) {
		return ""
	}
	switch already.ExistingCollector.(type) {
	case *prometheus.CounterVec:
		return "counter"
	case *prometheus.GaugeVec:
		return "gauge"
	case *prometheus.HistogramVec:
		return "histogram"
	case *prometheus.SummaryVec:
		return "summary"
	}
	return ""
}

// Table returns a row for each metric; process names who serves it.
func Table(all []Metric, process func(name string) string) string {
	var out strings.Builder
	head(&out, "metric", "type", "process", "meaning")
	for _, m := range all {
		name := m.Name
		if len(m.Labels) > 0 {
			name += "{" + strings.Join(m.Labels, ",") + "}"
		}
		row(&out, code(name), m.Type, process(m.Name), m.Help)
	}
	return out.String()
}
