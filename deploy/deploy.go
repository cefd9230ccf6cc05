// Package deploy holds what is installed around Millrace's own processes, for
// those that install it.
package deploy

import "embed"

// Templates are the Elasticsearch templates of the telemetry indices, in the
// folder templates: telemetry.json is the index template, canary.json that of the
// canary's index, every other file a component of them. schema.md says what the fields mean. They are written for
// Elasticsearch; internal/index derives OpenSearch's.
//
//go:embed templates/*.json
var Templates embed.FS

// Schema is schema.md: what a document holds.
//
//go:embed schema.md
var Schema string
