package main

import (
	"testing"

	"github.com/alecthomas/kong"

	"millrace/tools/reference"
)

//go:generate go test -vet=off -run ^TestReferenceIsCurrent$ . -record

// TestReferenceIsCurrent compares the settings in the documents with the flags.
func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&settings{}, options()...)
	if err != nil {
		t.Fatal(err)
	}
	reference.Check(t, "../../docs/settings.md", "worker", reference.Settings(parser.Model.Flags))
}
