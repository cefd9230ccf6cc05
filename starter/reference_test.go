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
	reference.Check(t, "../docs/settings.md", "starter", reference.Settings(reference.FromEnvironment(parser.Model.Node)))
	reference.Check(t, "../docs/commands.md", "starter", reference.Commands(parser.Model.Children...))
}
