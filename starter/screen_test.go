package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestWhatTenantsWroteDoesNotControlTheTerminal: not even when a character comes in two
// writes. In JSON the escapes mean what was there.
func TestWhatTenantsWroteDoesNotControlTheTerminal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a\tb\nü→😀":             "a\tb\nü→😀",
		"\x1b]0;title\x07":      `\u001b]0;title\u0007`,
		"over\rwritten\x7f":     `over\u000dwritten\u007f`,
		"C1 \u009b31m":          `C1 \u009b31m`,
		"\u202egnp.exe \u2066x": `\u202egnp.exe \u2066x`,
		"no character \x9b31m":  "no character \ufffd31m",
	} {
		for _, chunk := range []int{1, len(text)} {
			var got strings.Builder
			s := &screen{to: &got}
			for rest := text; rest != ""; {
				n := min(chunk, len(rest))
				if written, err := s.Write([]byte(rest[:n])); written != n || err != nil {
					t.Fatalf("it wrote %d of %d, %v", written, n, err)
				}
				rest = rest[n:]
			}
			if got.String() != want {
				t.Errorf("%q, %d bytes at a time, becomes %q", text, chunk, got.String())
			}
		}
	}
	encoded, err := json.Marshal("C1 \u009b31m")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	_, _ = (&screen{to: &out}).Write(encoded)
	var back string
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back != "C1 \u009b31m" {
		t.Errorf("JSON becomes %s, %v", out.String(), err)
	}
}
