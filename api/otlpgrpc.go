package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // agents may compress
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/types/known/durationpb"

	"millrace/internal/requestid"
)

// GRPC returns a server of OTLP/gRPC. Options may add to what it limits, and
// other services may be registered with it.
func (s *Server) GRPC(options ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(proto.Name)}),
		grpc.InTapHandle(s.tap),
		grpc.MaxRecvMsgSize(s.limits.BodyBytes), // after decompression, which ends there
		grpc.MaxConcurrentStreams(128),          // of one connection
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		grpc.MaxHeaderListSize(64 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 15 * time.Minute, MaxConnectionAge: time.Hour, MaxConnectionAgeGrace: time.Minute, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}, options...)...)
	for _, signal := range signals {
		server.RegisterService(s.service(signal), s)
	}
	return server
}

// What a client may send before it is read, which is beside the room: of one
// stream, and of all of a connection. That they are set keeps gRPC from raising
// them to 16 MiB.
const (
	streamWindow     = 64 << 10
	connectionWindow = 256 << 10
)

// payload is a message as it is encoded. The services take requests in this
// form, since a record's id may derive from it, and since its nesting is
// looked at before it is decoded.
type payload []byte

// codec leaves payloads as they are and all else to protobuf.
type codec struct{ encoding.CodecV2 }

// Marshal encodes an answer.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if p, ours := v.(payload); ours {
		return mem.BufferSlice{mem.SliceBuffer(p)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal decodes a request.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if p, ours := v.(*payload); ours {
		*p = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// service describes the service of a signal, as protoc would.
func (s *Server) service(of signal) *grpc.ServiceDesc {
	// As a stream, whose one message is read here and not before: its memory
	// needs room first. On the wire it is the same.
	return &grpc.ServiceDesc{
		ServiceName: of.service,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName:    "Export",
			ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error {
				id := s.requests.next()
				answer, err := s.export(stream, of, id)
				named := metadata.Pairs(requestIDHeader, id.String())
				stream.SetTrailer(named)
				if err != nil {
					return err
				}
				if err := stream.SetHeader(named); err != nil {
					return err //nolint:wrapcheck // is a status
				}
				return stream.SendMsg(answer) //nolint:wrapcheck // is a status
			},
		}},
	}
}

// receiveWithin bounds in time how long a message may take to arrive, once it has
// room, and waitForRoom how long one waits for that.
const (
	receiveWithin = 30 * time.Second
	waitForRoom   = 2 * time.Second
)

// receive reads the message of a stream. While it comes it has room for the
// largest one, both as it comes and as it is unpacked, since gRPC says nothing of
// its size. A stream that waits for room holds none yet.
func (s *Server) receive(stream grpc.ServerStream, held *share) (payload, *refusal, error) {
	ctx, cancel := context.WithTimeout(stream.Context(), waitForRoom)
	defer cancel()
	for !held.reserve(2 * int64(s.limits.BodyBytes)) {
		select {
		case <-ctx.Done():
			return nil, full(), nil
		case <-time.After(waitForRoom / 100):
		}
	}
	var message payload
	received := make(chan error, 1)
	go func() { received <- stream.RecvMsg(&message) }()
	late := time.NewTimer(receiveWithin)
	defer late.Stop()
	select {
	case err := <-received:
		if err != nil {
			return nil, nil, err
		}
		held.shrink(int64(len(message)))
		return message, nil, nil
	case <-late.C: // RecvMsg ends with the stream
		return nil, &refusal{status: http.StatusServiceUnavailable, reason: "the message did not arrive in time", retry: retryAfter}, nil
	}
}

// tenantOf is where a context keeps the tenant.
type tenantOf struct{}

// tap decides who comes in before a message is read.
func (s *Server) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	i := slices.IndexFunc(signals, func(of signal) bool { return strings.HasPrefix(info.FullMethodName, "/"+of.service+"/") })
	if i < 0 {
		return ctx, nil // some other service's
	}
	name := signals[i].name + "_grpc"
	tenant, refused := s.admit(name, apiKey(first(info.Header, "authorization"), first(info.Header, "x-api-key")), 0)
	if refused != nil {
		countRequest(name, refused.status, time.Now())
		return nil, refused.grpc()
	}
	return context.WithValue(ctx, tenantOf{}, tenant), nil
}

func first(from metadata.MD, name string) string {
	if values := from.Get(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// undecoded has a tenant pay for a message that gRPC refused: it may have
// unpacked as much as a message may have.
func (s *Server) undecoded(ctx context.Context) {
	if tenant, admitted := ctx.Value(tenantOf{}).(string); admitted {
		account := s.accounts.of(tenant)
		account.arrived(s.limits.BodyBytes)
		account.waste(1)
	}
}

// export answers one request.
func (s *Server) export(stream grpc.ServerStream, of signal, id *requestid.ID) (payload, error) {
	began, name, ctx := time.Now(), of.name+"_grpc", stream.Context()
	tenant, admitted := ctx.Value(tenantOf{}).(string)
	if !admitted { // cannot happen: the tap stands before every request
		return nil, status.Error(codes.Unauthenticated, "no API key")
	}
	held := &share{room: s.room}
	defer held.giveBack()
	var request payload
	refused := full()
	if held.enter(tenant) {
		var err error
		if request, refused, err = s.receive(stream, held); err != nil {
			s.undecoded(ctx)
			return nil, err
		}
	}
	var b *batch
	if refused == nil {
		s.accounts.of(tenant).arrived(len(request))
		b = newBatch(s.limits, tenant, s.region, s.now(), request, nil)
		b.held, b.id = held, id
		header, _ := metadata.FromIncomingContext(ctx) // none is as good as an empty one
		refused = s.traced(ctx, name, grpcHeader(header), began, &form{decode: of.decode(false)}, b)
	}
	if refused != nil {
		countRequest(name, refused.status, began)
		logAnswer(ctx, id, name, refused.status)
		return nil, refused.grpc()
	}
	countRequest(name, http.StatusOK, began)
	logAnswer(ctx, id, name, http.StatusOK)
	return payload(of.taken(b, false)), nil
}

// grpcHeader is a header as OpenTelemetry reads it.
type grpcHeader metadata.MD

// Get implements propagation.TextMapCarrier.
func (h grpcHeader) Get(name string) string { return first(metadata.MD(h), name) }

// Set implements propagation.TextMapCarrier.
func (h grpcHeader) Set(name, value string) { metadata.MD(h).Set(name, value) }

// Keys implements propagation.TextMapCarrier.
func (h grpcHeader) Keys() []string { return slices.Collect(maps.Keys(h)) }

// grpc is the refusal as a gRPC status. RetryInfo says that a retry may help:
// without it, agents give up where they are throttled.
func (r *refusal) grpc() error {
	refused := status.New(r.code(), r.message())
	if r.retry > 0 {
		detailed, err := refused.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(r.retry)})
		if err != nil { // cannot happen: the code is not OK
			panic(fmt.Sprintf("encode a status: %v", err))
		}
		refused = detailed
	}
	return refused.Err()
}
