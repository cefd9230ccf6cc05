package hostile

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	silentRequests = 100
	slowRequests   = 20
	silentStreams  = 100
	announced      = 10 << 20 // the largest body

	again = time.Second // after the end of one
)

// BeSilent holds connections and streams on which nothing is said.
func BeSilent(ctx context.Context, a *Attacker) error {
	connection, err := a.dial()
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }() // nothing that counts is on its way
	group, ctx := errgroup.WithContext(ctx)
	hold := func(times int, one func(context.Context) (string, error)) {
		for range times {
			group.Go(func() error {
				return every(ctx, again, func(int) error {
					what, err := one(ctx)
					if ctx.Err() == nil && err == nil {
						a.answered(what)
					}
					return err
				})
			})
		}
	}
	hold(silentRequests, func(ctx context.Context) (string, error) { return a.announce(ctx, false) })
	hold(slowRequests, func(ctx context.Context) (string, error) { return a.announce(ctx, true) })
	hold(silentStreams, func(ctx context.Context) (string, error) { return a.stream(ctx, connection) })
	return group.Wait()
}

// announce sends the head of a request, and of its body nothing or a byte a
// second. It says how the collector ended it.
func (a *Attacker) announce(ctx context.Context, trickle bool) (string, error) {
	connection, err := (&net.Dialer{Timeout: attemptWithin}).DialContext(ctx, "tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		return "no connection", nil //nolint:nilerr // it is counted
	}
	defer connection.Close()
	stop := context.AfterFunc(ctx, func() { connection.Close() })
	defer stop()
	head := "POST /v1/telemetry HTTP/1.1\r\nHost: collector\r\nContent-Type: application/json\r\nAuthorization: ApiKey " + a.key +
		"\r\nContent-Length: " + strconv.Itoa(announced) + "\r\n\r\n"
	if _, err := io.WriteString(connection, head); err != nil {
		return "closed", nil //nolint:nilerr // it is counted
	}
	ctx, ended := context.WithCancel(ctx)
	defer ended()
	if trickle {
		go func() {
			_ = every(ctx, time.Second, func(int) error { // until the collector closes it
				_, err := connection.Write([]byte(" "))
				return err
			})
		}()
	}
	answer := make([]byte, len("HTTP/1.1 408"))
	if _, err := io.ReadFull(connection, answer); err != nil {
		return "closed", nil //nolint:nilerr // it is counted
	}
	return "silent " + string(answer[len("HTTP/1.1 "):]), nil
}

// stream begins a call over gRPC and sends no message.
func (a *Attacker) stream(ctx context.Context, connection *grpc.ClientConn) (string, error) {
	stream, err := connection.NewStream(a.authorized(ctx), &grpc.StreamDesc{ClientStreams: true},
		"/opentelemetry.proto.collector.trace.v1.TraceService/Export")
	if err == nil {
		err = stream.RecvMsg(&emptypb.Empty{})
	}
	return "stream " + status.Code(err).String(), nil
}
