package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"millrace/deploy/observability"
)

// good is a result as it should be.
var good = result{
	Accepted: 100, Alerts: 3, AlertsTested: 3, Panels: 2, FindP99: 90, FindIDs: 10, Kills: 2, CanaryAvailability: 0.5, TctlCommands: 4, TemporalCommands: 5,
}

func TestResultSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	if err := good.check(true); err != nil {
		t.Errorf("a good result: %v", err)
	}
	for want, spoil := range map[string]func(*result){
		"2 records are lost":                   func(r *result) { r.Lost = 2 },
		"1 alerts are wrong":                   func(r *result) { r.AlertsWrong = 1 },
		"1 panels are empty":                   func(r *result) { r.PanelsEmpty = 1 },
		"-1 documents were made":               func(r *result) { r.PauseHeld = -1 },
		"no record of the canary":              func(r *result) { r.CanaryAvailability = 0 },
		"2 of 3 alerts are tested":             func(r *result) { r.AlertsTested = 2 },
		"a look-up takes 2001 ms":              func(r *result) { r.FindP99 = 2001 },
		"the look-ups or the soak did not end": func(r *result) { r.Kills = 0 },
		"1 records of the backup are missing":  func(r *result) { r.ResidualMax = 1 },
		"no command of the documents was run":  func(r *result) { r.TctlCommands = 0 },
		"1 commands of the documents fail":     func(r *result) { r.CommandsFailed = 1 },
	} {
		r := good
		spoil(&r)
		if err := r.check(true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	without := good
	without.AlertsTested, without.FindP99, without.TctlCommands = 0, 0, 0
	if err := without.check(false); err != nil {
		t.Errorf("without proofs: %v", err)
	}
}

// TestActsAreDocumented with their alerts, and so is each member of the last line.
func TestActsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/tour.md")
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, group := range observability.Groups() {
		for _, alert := range group.Alerts {
			known = append(known, alert.Name)
		}
	}
	for _, a := range acts {
		if row := "| " + a.title + " | " + strings.Join(a.alarms.Must, ", ") + " |"; !strings.Contains(string(text), row) {
			t.Errorf("docs/tour.md lacks %s", row)
		}
		for _, name := range slices.Concat(a.alarms.Must, a.alarms.May, memory, ignored) {
			if !slices.Contains(known, name) {
				t.Errorf("there is no alert %s", name)
			}
		}
	}
	line, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]any{}
	if err := json.Unmarshal(line, &members); err != nil {
		t.Fatal(err)
	}
	for member := range members {
		if !strings.Contains(string(text), "`"+member+"`") {
			t.Errorf("docs/tour.md does not explain %s", member)
		}
	}
}

func TestALastLineIsRead(t *testing.T) {
	t.Parallel()
	var r result
	output := "52 commands of temporal, 0 failed\nand\n    documented_commands_test.go:51: 31 commands of tctl, 2 failed\n"
	if err := r.enterCommands([]byte(output)); err != nil || r.TemporalCommands != 52 || r.TctlCommands != 31 || r.CommandsFailed != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}
