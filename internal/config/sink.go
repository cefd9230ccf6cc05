package config

// Names of sinks.
const (
	SinkElasticsearch = "elasticsearch" // OpenSearch, too
	SinkFile          = "file"
)

// Sink is where documents go.
type Sink struct {
	Kind string `name:"sink" help:"Where documents go: elasticsearch (or OpenSearch), or file, which is a directory of NDJSON." enum:"elasticsearch,file" default:"elasticsearch" env:"MILLRACE_SINK"`
}
