//go:build !race

package e2e

// buildFlags are what the programs are built with: as the tests are.
var buildFlags []string
