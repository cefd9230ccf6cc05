package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestDocumentedCommandsParse parses every starter command in docs, and requires that docs show each one.
func TestDocumentedCommandsParse(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile("(?m)(?:`|^ {4,8})(starter [a-z][^`#\n]*)").FindAllStringSubmatch(string(text), -1) {
			found[strings.TrimSpace(match[1])] = true
		}
	}
	if len(found) < 20 {
		t.Errorf("only %d commands are found in it: %v", len(found), found)
	}
	parser, err := kong.New(&commands{}, options()...) // once: it takes a tenth of a second under the race detector
	if err != nil {
		t.Fatal(err)
	}
	understood := map[string]bool{}
	for command := range found {
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
			t.Errorf("no page shows starter %s", command)
		}
	}
}
