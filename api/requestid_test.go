package api

import (
	"errors"
	"net/http"
	"reflect"
	"testing"

	"github.com/google/uuid"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"millrace/internal/requestid"
)

// named reads the id in an answer, which must be this collector's, and another each time.
func (c *collector) named(t *testing.T, seen map[uint64]bool, text string) requestid.ID {
	t.Helper()
	id, err := requestid.Parse(text)
	if err != nil || id.Collector != c.Collector() || seen[id.Number] {
		t.Errorf("the request is named %q: %+v, %v", text, id, err)
	}
	seen[id.Number] = true
	return id
}

func TestEveryAnswerNamesItsRequest(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	c.stream.batches = []requestid.Batch{{UUID: uuid.New()}, {UUID: uuid.New(), Direct: true}}
	seen := map[uint64]bool{}
	for name, test := range map[string]struct {
		path, body string
		headers    []string
		status     int
		batches    []requestid.Batch
	}{
		"taken":         {"/v1/telemetry", oneRecord, nil, http.StatusAccepted, c.stream.batches},
		"an agent's":    {"/v1/monitoring-data", "[]", nil, http.StatusOK, nil},
		"without a key": {"/v1/telemetry", oneRecord, []string{"Authorization", ""}, http.StatusUnauthorized, nil},
		"no record":     {"/v1/telemetry", "x", nil, http.StatusBadRequest, nil},
		"no type":       {"/v1/telemetry", oneRecord, []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType, nil},
		"no path":       {"/nowhere", oneRecord, nil, http.StatusNotFound, nil},
	} {
		r := c.postText(t, test.path, test.body, test.headers...)
		if id := c.named(t, seen, r.header.Get("X-Request-Id")); r.status != test.status || !reflect.DeepEqual(id.Batches, test.batches) {
			t.Errorf("%s: answered %d, in %v", name, r.status, id.Batches)
		}
	}
	c.stream.err = errors.New("nothing is durable")
	r := c.postText(t, "/v1/telemetry", oneRecord)
	if c.named(t, seen, r.header.Get("X-Request-Id")); r.status != http.StatusServiceUnavailable {
		t.Errorf("answered %d", r.status)
	}
}

func TestEveryAnswerOverGRPCNamesItsRequest(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	c.stream.batches = []requestid.Batch{{UUID: uuid.New()}}
	client, seen := ptraceotlp.NewGRPCClient(c.dial(t)), map[uint64]bool{}
	export := func() (header, trailer metadata.MD, err error) {
		request := ptraceotlp.NewExportRequest()
		request.Traces().ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("a")
		_, err = client.Export(c.ctx(t), request, grpc.Header(&header), grpc.Trailer(&trailer))
		return header, trailer, err
	}
	header, trailer, err := export()
	if err != nil {
		t.Fatal(err)
	}
	if id := c.named(t, seen, first(header, "x-request-id")); !reflect.DeepEqual(id.Batches, c.stream.batches) || first(trailer, "x-request-id") != id.String() {
		t.Errorf("the header names %v, the trailer %q", id, first(trailer, "x-request-id"))
	}
	c.stream.err = errors.New("nothing is durable")
	if _, trailer, err = export(); err == nil {
		t.Fatal("it is taken")
	}
	c.named(t, seen, first(trailer, "x-request-id"))
}
