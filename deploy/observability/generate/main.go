// Command generate writes the files of package observability into the current folder. With "rules" it prints the rules,
// for a pipeline in which time runs faster (--scale), or with links to another place (--docs).
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"millrace/deploy/observability"
)

type command struct {
	Write struct{}     `cmd:"" default:"1" help:"Write rules and dashboards into the current folder."`
	Rules rulesCommand `cmd:"" help:"Print the rules for Prometheus."`
}

type rulesCommand struct {
	Scale float64 `help:"What multiplies every window, age and duration. 0.0167: an hour lasts a minute." default:"1"`
	Docs  string  `help:"What to put before the page of a runbook, with a slash at its end." default:"docs/"`
}

// Validate reports a scale at which nothing could be measured.
func (c rulesCommand) Validate() error {
	if c.Scale <= 0 {
		return fmt.Errorf("--scale: %g is not positive", c.Scale)
	}
	return nil
}

func main() {
	var c command
	if err := run(kong.Parse(&c, kong.Name("generate")).Command(), c); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(what string, c command) error {
	if what == "rules" {
		text, err := observability.Rules(observability.Options(c.Rules))
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(text)
		return err
	}
	files, err := observability.Files()
	if err != nil {
		return err
	}
	for name, text := range files {
		if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) { // results of tests that read it are kept
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fmt.Errorf("make the folder of a file: %w", err)
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return fmt.Errorf("write a file: %w", err)
		}
	}
	return nil
}
