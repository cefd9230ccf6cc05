package main

import (
	"testing"

	"github.com/alecthomas/kong"

	"millrace/tools/reference"
)

//go:generate go test -vet=off -run ^TestReferenceIsCurrent$ . -record

// TestReferenceIsCurrent compares the settings and commands in the documents with the program's.
func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commands{}, options()...)
	if err != nil {
		t.Fatal(err)
	}
	serve, keys := parser.Model.Children[0], parser.Model.Children[1]
	reference.Check(t, "../../docs/settings.md", "collector", reference.Settings(serve.Flags))
	reference.Check(t, "../../docs/commands.md", "collector", reference.Commands(keys))
}
