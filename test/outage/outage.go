// Package outage has tests run our programs while one of the services that they
// need is away.
package outage

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/test/kit/faultproxy"
	"millrace/workers"
	"millrace/workflows"
)

// Cloud is what a program needs, each service behind a way of its own.
type Cloud struct {
	Names  config.Resources
	Queues *sqs.Client // past the proxy

	services map[string]*faultproxy.Proxy
	temporal *faultproxy.Network
}

// New makes stream, queues, bucket and namespace of a test's own, and sets the
// environment that leads there, by ways that are open.
func New(t *testing.T) *Cloud {
	t.Helper()
	cfg, name := localtest.AWS(t), localtest.Name(t, "start")
	c := &Cloud{
		Names:  config.Resources{Stream: name, Queue: name, DeadLetters: name + "-dlq", Bucket: name},
		Queues: sqs.NewFromConfig(cfg), services: map[string]*faultproxy.Proxy{},
	}
	streams := kinesis.NewFromConfig(cfg)
	t.Cleanup(func() {
		_, _ = streams.DeleteStream(context.WithoutCancel(t.Context()), &kinesis.DeleteStreamInput{StreamName: &name})
	})
	if _, err := stream.Create(t.Context(), streams, name, 1, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{name, c.Names.DeadLetters} {
		if err := queue.Create(t.Context(), c.Queues, q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := archive.Create(t.Context(), s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), name); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_REGION", cfg.Region)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	for _, service := range []string{workers.Kinesis, workers.SQS, workers.S3} {
		proxy, err := faultproxy.Start(t.Context(), *cfg.BaseEndpoint)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = proxy.Close() })
		c.services[service] = proxy
		t.Setenv("AWS_ENDPOINT_URL_"+strings.ToUpper(service), proxy.URL())
	}
	server := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	var err error
	if c.temporal, err = faultproxy.StartNetwork(t.Context(), server.HostPort); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.temporal.Close() })
	t.Setenv("TEMPORAL_ADDRESS", c.temporal.Address())
	t.Setenv("TEMPORAL_NAMESPACE", server.Namespace)
	return c
}

// Close closes the way to a service: workers.Kinesis, SQS, S3 or Temporal.
func (c *Cloud) Close(service string) {
	if service == workers.Temporal {
		c.temporal.Cut()
		return
	}
	c.services[service].Set(faultproxy.Rule{Name: service, Fault: faultproxy.Reset{}})
}

// Open opens it again.
func (c *Cloud) Open(service string) {
	if service == workers.Temporal {
		c.temporal.Mend()
		return
	}
	c.services[service].Set()
}

// Args name what the cloud has, as programs take them.
func (c *Cloud) Args() []string {
	return []string{"--stream=" + c.Names.Stream, "--queue=" + c.Names.Queue, "--dlq=" + c.Names.DeadLetters, "--bucket=" + c.Names.Bucket}
}
