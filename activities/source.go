package activities

import (
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// StreamSource is a Kinesis stream as a Source.
type StreamSource struct{ *stream.Stream }

// Read begins behind a checkpoint.
func (s StreamSource) Read(shard string, from telemetry.Checkpoint) Reader {
	return s.Reader(shard, from)
}
