// Package reference makes the generated parts of the documents: commands and settings from
// the kong model of each program, metrics from the registered collectors. Tests compare them
// with what the documents say. With -record, as go generate runs those tests, they write it
// instead, so that no program carries code for its documents.
package reference

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var record = flag.Bool("record", false, "write the generated part of the document, instead of comparing it")

// Check compares a section of a document with what it should be. A section begins with
// <!-- generated: name --> and ends with <!-- end: name -->, each on a line of its own.
func Check(t *testing.T, file, name, want string) {
	t.Helper()
	read, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("read the document: %v", err)
	}
	text := string(read)
	made, ok := replace(text, name, want)
	switch {
	case !ok:
		t.Fatalf("%s has no section %s", file, name)
	case made == text:
	case *record:
		if err := os.WriteFile(file, []byte(made), 0o644); err != nil {
			t.Fatalf("write the document: %v", err)
		}
	default:
		t.Errorf("section %s of %s is out of date: run go generate ./...", name, file)
	}
}

// replace returns the text with another section, and whether it has that section.
func replace(text, name, section string) (string, bool) {
	begin, end := "<!-- generated: "+name+" -->\n", "<!-- end: "+name+" -->"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	return before + begin + "\n" + strings.TrimSpace(section) + "\n\n" + end + after, ok && ok2
}

// row is one of a Markdown table.
func row(to *strings.Builder, cells ...string) {
	for _, cell := range cells {
		to.WriteString("| " + strings.TrimSpace(strings.NewReplacer("|", `\|`, "\n", " ").Replace(cell)) + " ")
	}
	to.WriteString("|\n")
}

// head begins a Markdown table.
func head(to *strings.Builder, titles ...string) {
	row(to, titles...)
	to.WriteString(strings.Repeat("|---", len(titles)) + "|\n")
}

// code marks text as code, unless there is none.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
