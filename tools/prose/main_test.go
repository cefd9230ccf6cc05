package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPhrasesAreFound in comments, across their lines, in strings with spaces and in documents; not in names or code.
func TestPhrasesAreFound(t *testing.T) {
	t.Parallel()
	all, _, err := rules(words)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file, text string
		want       int
	}{
		"a comment":           {"a.go", "package a\n\n// It ends by itself.\n", 1},
		"a comment's lines":   {"a.go", "package a\n\n// It ends by\n// itself.\n", 1},
		"a string":            {"a.go", "package a\n\nconst a = \"nobody answers\"\n", 1},
		"a name in a string":  {"a.go", "package a\n\nconst a = \"nobody\"\n", 0},
		"an identifier":       {"a.go", "package a\n\nvar nobody int\n", 0},
		"a document":          {"a.md", "Nobody knows.\n", 1},
		"a document's code":   {"a.md", "```\nNobody knows.\n```\n", 0},
		"nothing of the kind": {"a.md", "No worker answers.\n", 0},
	} {
		path := filepath.Join(t.TempDir(), c.file)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		texts, err := textsOf(path)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, text := range texts {
			for _, r := range all {
				found += len(r.phrase.FindAllString(text.text, -1))
			}
		}
		if found != c.want {
			t.Errorf("%s: %d phrases are found, want %d", name, found, c.want)
		}
	}
	if _, _, err := rules("no tab"); err == nil {
		t.Error("a rule without a suggestion is taken")
	}
}
