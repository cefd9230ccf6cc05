package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// otlpRoutes are the routes of OTLP/HTTP. An answer is encoded as its request,
// and a failure is a google.rpc.Status (OTLP 1.x, 'OTLP/HTTP Response').
func otlpRoutes() []route {
	var all []route
	for _, s := range signals {
		all = append(all, route{s.path, s.name, map[string]*form{
			"application/x-protobuf": s.form("application/x-protobuf", false),
			"application/json":       s.form("application/json", true),
		}})
	}
	return all
}

func (s signal) form(mediaType string, asJSON bool) *form {
	return &form{
		mediaType: mediaType,
		decode:    s.decode(asJSON),
		taken:     func(b *batch) (int, []byte) { return http.StatusOK, s.taken(b, asJSON) },
		refused: func(r *refusal) []byte {
			if asJSON {
				body, err := json.Marshal(struct {
					Code    codes.Code `json:"code"`
					Message string     `json:"message"`
				}{r.code(), r.message()})
				if err != nil { // cannot happen: a number and a string
					panic(fmt.Sprintf("encode an answer: %v", err))
				}
				return body
			}
			body, err := proto.Marshal(&status.Status{Code: int32(r.code()), Message: r.message()})
			if err != nil { // cannot happen: the message is UTF-8
				panic(fmt.Sprintf("encode an answer: %v", err))
			}
			return body
		},
	}
}

// code is the gRPC code that stands for the refusal.
func (r *refusal) code() codes.Code {
	switch r.status {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusMethodNotAllowed, http.StatusNotFound:
		return codes.Unimplemented
	}
	return codes.InvalidArgument
}

// message is the reason, with those of the records. A decoder's error may show
// bytes of the body, and protobuf's strings must be UTF-8.
func (r *refusal) message() string {
	message := r.reason
	if len(r.rejected) > 0 {
		message += ": " + summary(r.rejected)
	}
	return strings.ToValidUTF8(message, "\uFFFD")
}
