package main

import "testing"

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
