package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"millrace/deploy/spark"
)

// good is what is gathered, and what Spark finds of it.
func good() (gathered, spark.Counts) {
	want := gathered{objects: 3, bytes: 400, expected: expected{
		ids:    map[string]bool{"a": true, "b": true, "c": true},
		groups: map[string]map[string]uint64{"type": {"log": 2, "span": 1}, "tenant": {"t": 3}},
	}}
	return want, spark.Counts{
		Records: 4, Distinct: 3, IDs: map[string]bool{"a": true, "b": true, "c": true},
		Groups: []spark.Group{
			{Name: "type", Value: "log", Records: 3, IDs: 2}, {Name: "type", Value: "span", Records: 1, IDs: 1},
			{Name: "tenant", Value: "t", Records: 4, IDs: 3}, {Name: "hour", Value: "2026-11-23 13", Records: 4, IDs: 3},
		},
	}
}

func TestConcludeReportsDifferences(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	want, got := good()
	if err := conclude(&out, want, got, 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	var line map[string]float64
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), "\n") != 1 ||
		line["expected"] != 3 || line["distinct"] != 3 || line["missing"] != 0 || line["records"] != 4 || line["objects"] != 3 || line["spark_s"] != 1.5 {
		t.Errorf("it prints %s, %v", out.String(), err)
	}
	for what, spoil := range map[string]func(*gathered, *spark.Counts){
		"an id is missing":          func(w *gathered, _ *spark.Counts) { w.ids["d"] = true },
		"an id is unexpected":       func(w *gathered, _ *spark.Counts) { delete(w.ids, "a") },
		"one for another":           func(w *gathered, _ *spark.Counts) { delete(w.ids, "a"); w.ids["d"] = true },
		"the count is not its ids":  func(_ *gathered, c *spark.Counts) { c.Distinct++ },
		"a line is unreadable":      func(_ *gathered, c *spark.Counts) { c.Unreadable++ },
		"a group has one less":      func(_ *gathered, c *spark.Counts) { c.Groups[0].IDs-- },
		"a group is missing":        func(_ *gathered, c *spark.Counts) { c.Groups = c.Groups[1:] },
		"a group is unexpected":     func(w *gathered, _ *spark.Counts) { delete(w.groups["type"], "span") },
		"there is no group at all":  func(_ *gathered, c *spark.Counts) { c.Groups = nil },
		"one tenant has another's ": func(_ *gathered, c *spark.Counts) { c.Groups[2].Value = "u" },
	} {
		want, got := good()
		spoil(&want, &got)
		if conclude(new(bytes.Buffer), want, got, time.Second) == nil {
			t.Errorf("%s, and there is no error", what)
		}
	}
}
