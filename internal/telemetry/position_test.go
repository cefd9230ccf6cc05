package telemetry_test

import (
	"cmp"
	"slices"
	"testing"

	"millrace/internal/telemetry"
)

func TestPositionsAreOrderedByNumberAndPlace(t *testing.T) {
	t.Parallel()
	const number = "49590338271490256608559692538361571095921575989136588898"
	ordered := []string{"", "7", "8_1", "8_2", "8_10", "0009", "10", number + "_1", number + "_2"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := telemetry.ComparePositions(a, b), cmp.Compare(i, j); got != want {
				t.Errorf("%q and %q compare as %d, want %d", a, b, got, want)
			}
		}
	}
	for _, whole := range []string{"8", "08"} { // which holds each of its places
		for _, place := range []string{"8", "8_1", "8_10"} {
			if a, b := telemetry.ComparePositions(whole, place), telemetry.ComparePositions(place, whole); a != 0 || b != 0 {
				t.Errorf("%s and %s compare as %d and %d", whole, place, a, b)
			}
		}
	}
}

func TestPositionNamesItsRecord(t *testing.T) {
	t.Parallel()
	if got := telemetry.Position("8", 3); got != "8_3" || telemetry.SequenceOf(got) != "8" || telemetry.SequenceOf("8") != "8" {
		t.Errorf("the third document of 8 is at %s, in %s", got, telemetry.SequenceOf(got))
	}
	for text, want := range map[string]bool{"8": true, "8_3": true, "": false, "_3": false, "8_": false, "8_3_1": false, "8_x": false, "x": false} {
		if telemetry.IsPosition(text) != want {
			t.Errorf("%q is a position: %t", text, !want)
		}
	}
}

func TestRangeContainsPlaces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, last string
		has         []string
	}{
		{"7", "9", []string{"7", "7_1", "8", "8_1", "8_2", "8_3", "9", "9_9"}},
		{"8_2", "8_2", []string{"8", "8_2"}},
		{"7_2", "8_2", []string{"7", "8", "8_1", "8_2"}},
		{"8_3", "9", []string{"8", "8_3", "9", "9_9"}},
	} {
		r := telemetry.Range{First: c.first, Last: c.last}
		for _, position := range []string{"6", "7", "7_1", "8", "8_1", "8_2", "8_3", "9", "9_9", "10"} {
			if got := r.Contains(position); got != slices.Contains(c.has, position) {
				t.Errorf("%s to %s has %s: %t", c.first, c.last, position, got)
			}
		}
	}
}
