// Package api is the collector: it takes telemetry from agents over HTTP and
// gRPC, judges each record alone, and gives what is good to an Ingester as
// stream records. openapi.yaml describes every route.
//
// One post goes this way:
//
//	server.go, otlpgrpc.go   who posts, and what: key, media type, body within its limit (body.go)
//	telemetry.go, thundra.go, otlp*.go   the protocol: cut the body into records
//	record.go                one record: id, type, time, limits; its stream record
//	server.go                Ingester: all durable, or the agent is told to come again
//
// A record is parsed once, here. JSON that agents send is walked, not decoded
// (scan.go): the bytes of its values are what Elasticsearch gets, so that no
// number loses a digit.
package api
