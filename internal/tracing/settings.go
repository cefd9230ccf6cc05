package tracing

import (
	"cmp"
	"fmt"
	"os"
)

// Settings say what is traced.
type Settings struct {
	Sample float64 `name:"trace-sample" help:"Share of requests to trace with OpenTelemetry, from 0 (none) to 1; a worker traces what collectors do, and nothing at 0. Spans go where OTEL_EXPORTER_OTLP_ENDPOINT points, over HTTP." default:"0" env:"MILLRACE_TRACE_SAMPLE"`
}

// The one protocol that the exporter speaks, in the words of OpenTelemetry's environment.
const protocol = "http/protobuf"

// Validate reports settings that cannot work.
func (s Settings) Validate() error {
	if !(s.Sample >= 0 && s.Sample <= 1) { // so written, it refuses NaN
		return fmt.Errorf("--trace-sample: %v is not between 0 and 1", s.Sample)
	}
	asked := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), protocol)
	if s.Sample > 0 && asked != protocol {
		return fmt.Errorf("--trace-sample: OTEL_EXPORTER_OTLP_PROTOCOL is %s, and spans are sent by %s only", asked, protocol)
	}
	return nil
}
