package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// What the operating guide tells to type must be understood.
func TestTheGuidesCommandsAreUnderstood(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, match := range regexp.MustCompile("(?m)(?:`|^    )(starter [a-z][^`#\n]*)").FindAllStringSubmatch(string(guide), -1) {
		found[strings.TrimSpace(match[1])] = true
	}
	if len(found) < 20 {
		t.Errorf("only %d commands are found in it: %v", len(found), found)
	}
	understood := map[string]bool{}
	for command := range found {
		parser, err := kong.New(&commands{}, options()...)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.Parse(strings.Fields(command)[1:])
		if err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		name, _, _ := strings.Cut(parsed.Command(), " <")
		understood[name] = true
	}
	for _, command := range leaves {
		if !understood[command] {
			t.Errorf("the guide does not show starter %s", command)
		}
	}
}
