package api

import (
	"context"
	"fmt"
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
)

// GRPC returns a server of OTLP/gRPC. Options may add to what it limits, and
// other services may be registered with it.
func (s *Server) GRPC(options ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(proto.Name)}),
		grpc.InTapHandle(s.tap),
		grpc.MaxRecvMsgSize(s.limits.BodyBytes), // after decompression, which ends there
		grpc.MaxConcurrentStreams(256),          // of one connection
		grpc.MaxHeaderListSize(64 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 15 * time.Minute, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}, options...)...)
	for _, signal := range signals {
		server.RegisterService(s.service(signal), s)
	}
	return server
}

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
	method := "/" + of.service + "/Export"
	return &grpc.ServiceDesc{
		ServiceName: of.service,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Export",
			Handler: func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
				var request payload
				if err := decode(&request); err != nil {
					s.undecoded(ctx)
					return nil, err
				}
				handle := func(ctx context.Context, request any) (any, error) { return s.export(ctx, of, request.(payload)) }
				if interceptor == nil {
					return handle(ctx, request)
				}
				return interceptor(ctx, request, &grpc.UnaryServerInfo{Server: s, FullMethod: method}, handle)
			},
		}},
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
func (s *Server) export(ctx context.Context, of signal, request payload) (any, error) {
	began, name := time.Now(), of.name+"_grpc"
	tenant, admitted := ctx.Value(tenantOf{}).(string)
	if !admitted { // cannot happen: the tap stands before every request
		return nil, status.Error(codes.Unauthenticated, "no API key")
	}
	s.accounts.of(tenant).arrived(len(request))
	held := &share{room: s.room}
	defer held.giveBack()
	if !held.take(int64(len(request))) {
		countRequest(name, http.StatusServiceUnavailable, began)
		return nil, full().grpc()
	}
	memory := scratches.Get().(*scratch)
	defer memory.release()
	b := newBatch(s.limits, tenant, s.region, s.now(), request, &memory.draft)
	if refused := s.accept(ctx, name, &form{decode: of.decode(false)}, b); refused != nil {
		countRequest(name, refused.status, began)
		return nil, refused.grpc()
	}
	countRequest(name, http.StatusOK, began)
	return payload(of.taken(b, false)), nil
}

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
