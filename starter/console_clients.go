package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	"go.temporal.io/sdk/client"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"millrace/internal/config"
)

// temporalRate bounds the calls a second with which an observer looks.
const temporalRate = 100

// observes are the calls of Temporal and AWS that change nothing, by how they begin.
var observes = regexp.MustCompile(`^(Get|Describe|List|Count|Query|Head|Check)`)

// observer makes a Temporal client that can change nothing. It connects when it is first used.
func observer(options client.Options, by who) (client.Client, error) {
	options.Identity = string(by)
	limit := rate.NewLimiter(temporalRate, temporalRate)
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, more ...grpc.CallOption) error {
			if call := method[strings.LastIndexByte(method, '/')+1:]; !observes.MatchString(call) {
				return status.Errorf(codes.PermissionDenied, "this client changes nothing, and %s may", call)
			}
			if err := limit.Wait(ctx); err != nil {
				if ctx.Err() != nil {
					return status.FromContextError(ctx.Err()).Err()
				}
				return status.Errorf(codes.DeadlineExceeded, "wait for a turn to ask: %v", err) // which would come behind the deadline
			}
			return invoke(ctx, method, request, reply, cc, more...)
		}))
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fmt.Errorf("make the Temporal client: %w", err)
	}
	return c, nil
}

// observing lets AWS's clients do only what changes nothing.
func observing(cfg aws.Config) aws.Config {
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("ObserveOnly",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				if call := awsmiddleware.GetOperationName(ctx); !observes.MatchString(call) {
					return middleware.InitializeOutput{}, middleware.Metadata{}, fmt.Errorf("this client changes nothing, and %s may", call)
				}
				return next.HandleInitialize(ctx, in)
			}), middleware.After)
	})
	return cfg
}

// lazyAWS loads AWS's configuration once it can be loaded, for clients that only observe.
type lazyAWS struct {
	mu  sync.Mutex
	cfg *aws.Config
}

func (l *lazyAWS) load(ctx context.Context) (aws.Config, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg == nil {
		cfg, err := config.AWS(ctx)
		if err != nil {
			return cfg, err
		}
		l.cfg = new(observing(cfg))
	}
	return *l.cfg, nil
}
