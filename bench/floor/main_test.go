package main

import (
	"encoding/json"
	"testing"
)

// TestElementsAreThoseOfEncodingJSON: a floor that loses some would be no floor.
func TestElementsAreThoseOfEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`[]`, `[{}]`, `[ {"a":"]}\""} , {"b":[{"c":{}},[]]} ]`, `[{"a":"\\"},{"é":1}]`} {
		var want []json.RawMessage
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		got := cut([]byte(text))
		if len(got) != len(want) {
			t.Fatalf("%s has %d elements, want %d", text, len(got), len(want))
		}
		for i := range got {
			if string(got[i]) != string(want[i]) {
				t.Errorf("element %d of %s is %s", i, text, got[i])
			}
		}
	}
}
