// Package tracing follows a share of requests with OpenTelemetry: from the agent's
// request to the batch that it joins, into the stream, and to the index.
//
// Whether a request is traced is decided once, when it arrives. A nil Tracer traces
// none, at no cost: no span begins without one that a request has begun.
package tracing
