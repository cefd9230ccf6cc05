// Package prometheus builds and runs Prometheus itself on this machine, to try rules and dashboards with it.
package prometheus

import (
	"context"
	"path/filepath"

	"millrace/deploy/local"
)

// source is the module of Prometheus; its programs are in folders below it.
const source = "github.com/prometheus/prometheus/cmd/"

// withoutDiscovery leaves out what finds targets in clouds: those that the configuration lists need none of it.
const withoutDiscovery = "-tags=remove_all_sd"

// BuildPromtool compiles promtool if it is not current, and returns its path.
func BuildPromtool(ctx context.Context, root string) (string, error) {
	return build(ctx, root, "promtool")
}

// BuildServer compiles Prometheus if it is not current, and returns its path. It has no web pages, only the API: they
// come from another build, of JavaScript.
func BuildServer(ctx context.Context, root string) (string, error) {
	return build(ctx, root, "prometheus")
}

func build(ctx context.Context, root, program string) (string, error) {
	path := filepath.Join(root, ".local", "bin", program)
	return path, local.BuildTool(ctx, filepath.Join(root, "tools", "prometheus"), local.Program{Path: path, Source: source + program}, append(local.Quickly(), withoutDiscovery)...)
}
