package pipeline

import (
	"context"
	"path/filepath"

	"millrace/deploy/local"
)

// Programs are the paths of Millrace's programs.
type Programs struct{ Collector, Worker, Starter string }

// Build compiles what is not current of the programs into a folder. flags go
// to go build.
func Build(ctx context.Context, root, dir string, flags ...string) (Programs, error) {
	p := Programs{
		Collector: filepath.Join(dir, "collector"),
		Worker:    filepath.Join(dir, "worker"),
		Starter:   filepath.Join(dir, "starter"),
	}
	return p, local.Build(ctx, root, []local.Program{
		{Path: p.Collector, Source: "./api/cmd"}, {Path: p.Worker, Source: "./workers/cmd"}, {Path: p.Starter, Source: "./starter"},
	}, flags...)
}
