// Package observability is what watches a pipeline: rules for Prometheus, which record and alert, and dashboards for
// Grafana. Both are files in this folder, made from the code beside them, so that a test can name every metric that
// they use, and print the rules for a pipeline in which time runs faster.
package observability

//go:generate go run ./generate
