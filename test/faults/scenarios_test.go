package main

import (
	"slices"
	"strings"
	"testing"

	"millrace/deploy/observability"
)

// The list of faults has no gaps that hide a scenario, and no name twice: each
// has a tenant by its number.
func TestScenariosAreDistinct(t *testing.T) {
	t.Parallel()
	const promised = 40
	numbers, names, days := map[int]bool{}, map[string]bool{}, 0
	for _, s := range scenarios {
		if s.number <= 0 || s.name == "" || numbers[s.number] || names[s.name] {
			t.Errorf("scenario %d %q is there twice, or has no name", s.number, s.name)
		}
		numbers[s.number], names[s.name] = true, true
		if s.ownDay {
			days++
		}
	}
	if len(scenarios) < promised {
		t.Errorf("%d scenarios, want %d", len(scenarios), promised)
	}
	if days > mostDays {
		t.Errorf("%d scenarios have a day for themselves, there are %d days", days, mostDays)
	}
}

func TestAlertsOfScenariosExist(t *testing.T) {
	t.Parallel()
	known := slices.Clone(unrelated)
	for _, group := range observability.Groups() {
		for _, alert := range group.Alerts {
			known = append(known, alert.Name)
		}
	}
	for _, s := range scenarios {
		unknown := slices.DeleteFunc(slices.Concat(s.alarms.Must, s.alarms.May), func(name string) bool { return slices.Contains(known, name) })
		if len(unknown) > 0 {
			t.Errorf("%s names the alerts %q, which there are not", s.name, unknown)
		}
		may := map[string]bool{}
		for _, name := range s.alarms.May {
			may[strings.TrimSuffix(strings.TrimSuffix(name, "Fast"), "Slowly")] = true
		}
		if len(may) > mostConsequences {
			t.Errorf("%s may have the consequences %q, which are more than %d", s.name, s.alarms.May, mostConsequences)
		}
	}
}
