package observability

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Severity says whom an alert reaches.
type Severity string

// The severities, as alertmanager.yml routes them.
const (
	Page   Severity = "page"   // wakes an operator: records are lost, late, or refused, or soon will be
	Ticket Severity = "ticket" // waits for the morning
	Info   Severity = "info"   // reaches no operator: it explains, and silences others
)

// Alert is one that fires when its expression has had a result for a while. Durations in the expression are written as
// PromQL writes them (5m), also where it wants seconds: see Scale.
type Alert struct {
	Name     string
	Severity Severity
	Expr     string
	For      time.Duration
	// Labels are those beside the severity. Stage and shard make alerts of the same shard comparable.
	Labels map[string]string
	// Summary and Description are templates of Prometheus. The description ends with what to look at.
	Summary, Description string
	// Runbook is a page of docs, and its heading.
	Runbook string
}

// Record is a rule that keeps the result of an expression under a name.
type Record struct {
	Name   string
	Labels map[string]string
	Expr   string
}

// Group has rules that are evaluated one after the other: what it records, its alerts may use.
type Group struct {
	Name    string
	Records []Record
	Alerts  []Alert
}

// Groups are all rules.
func Groups() []Group {
	return []Group{delaySLO, ingestSLO, canarySLO, canaries, shards, losses, ingest, elasticsearch, deadLetters, backups, audits, snapshots, temporal, processes}
}

// interval is how often rules are evaluated, at a scale of 1.
const interval = 15 * time.Second

// Options say how the rules are written.
type Options struct {
	// Scale multiplies every window, age and duration, for tests in which hours must pass in minutes. The objective for
	// the delay of a record stays. Zero: 1.
	Scale float64
	// Docs is put before the page of a runbook. Empty: links are relative to the repository.
	Docs string
}

type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name     string `yaml:"name"`
	Interval string `yaml:"interval"`
	Rules    []rule `yaml:"rules"`
}

type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// Rules returns the file of rules.
func Rules(o Options) ([]byte, error) {
	if o.Scale == 0 {
		o.Scale = 1
	}
	if o.Docs == "" {
		o.Docs = "docs/"
	}
	var file ruleFile
	for _, group := range Groups() {
		to := ruleGroup{Name: "millrace-" + group.Name, Interval: duration(interval, o.Scale)}
		for _, r := range group.Records {
			to.Rules = append(to.Rules, rule{Record: r.Name, Expr: Scale(r.Expr, o.Scale), Labels: r.Labels})
		}
		for _, a := range group.Alerts {
			to.Rules = append(to.Rules, a.rule(o))
		}
		file.Groups = append(file.Groups, to)
	}
	var out strings.Builder
	out.WriteString("# Made by go generate ./deploy/observability from its code, which is where to change them.\n")
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(file); err != nil {
		return nil, fmt.Errorf("write the rules: %w", err)
	}
	return []byte(out.String()), nil
}

// After is how long the expression must have had a result; empty: the alert fires at once.
func (a Alert) After() string {
	if a.For == 0 {
		return ""
	}
	return duration(a.For, 1)
}

func (a Alert) rule(o Options) rule {
	labels := map[string]string{"severity": string(a.Severity)}
	for name, value := range a.Labels {
		labels[name] = value
	}
	r := rule{Alert: a.Name, Expr: Scale(a.Expr, o.Scale), Labels: labels, Annotations: map[string]string{
		"summary": a.Summary, "description": a.Description, "runbook_url": o.Docs + a.Runbook,
	}}
	if a.For > 0 {
		r.For = duration(a.For, o.Scale)
	}
	return r
}

var (
	// token is what may have a duration: a range or a subquery, or a number; or looks so: a string.
	token = regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|` + age.String())
	age   = regexp.MustCompile(`\b(\d+)(ms|s|m|h|d|w)\b`)
)

// Scale multiplies each duration of an expression. Those outside of a range become seconds, as every version of
// Prometheus reads them.
func Scale(expr string, scale float64) string {
	return token.ReplaceAllStringFunc(strings.TrimSpace(expr), func(found string) string {
		switch found[0] {
		case '"':
			return found
		case '[':
			return age.ReplaceAllStringFunc(found, func(d string) string { return duration(parse(d), scale) })
		}
		return strconv.FormatFloat(parse(found).Seconds()*scale, 'f', -1, 64)
	})
}

// units are those of PromQL, the longest first.
var units = []struct {
	name string
	time.Duration
}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

// parse reads a duration of PromQL that has one unit.
func parse(text string) time.Duration {
	parts := age.FindStringSubmatch(text)
	count, _ := strconv.Atoi(parts[1]) // the pattern has digits only
	for _, unit := range units {
		if unit.name == parts[2] {
			return time.Duration(count) * unit.Duration
		}
	}
	return 0
}

// duration writes a scaled duration in the longest unit of which it is a multiple. The shortest one is a millisecond.
func duration(d time.Duration, scale float64) string {
	scaled := max(time.Millisecond, time.Duration(float64(d)*scale).Round(time.Millisecond))
	for _, unit := range units[1:] { // weeks are read as days
		if scaled%unit.Duration == 0 {
			return strconv.FormatInt(int64(scaled/unit.Duration), 10) + unit.name
		}
	}
	return scaled.String()
}
