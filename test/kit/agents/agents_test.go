package agents_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"

	"millrace/deploy/local"
	"millrace/test/kit/agents"
)

func install(t *testing.T) *agents.Agents {
	t.Helper()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	installed, err := agents.Install(t.Context(), root, nil)
	if err != nil {
		t.Fatal(err)
	}
	return installed
}

// The end-to-end tests count on what these agents send: here it is counted on
// the wire.
func TestThundraSendsReportedRecords(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	types := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var records []struct {
			APIKey, Type string
		}
		if err := json.NewDecoder(r.Body).Decode(&records); err != nil || r.URL.Path != "/v1/monitoring-data" || r.Header.Get("Authorization") != "ApiKey secret" {
			t.Errorf("%s with %q: %v", r.URL, r.Header.Get("Authorization"), err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, record := range records {
			types[record.Type]++
		}
	}))
	defer server.Close()
	if err := install(t).Thundra(t.Context(), server.URL, "secret", 3); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if types["Invocation"] != 3 || types["Span"] != 6 || types["Log"] != 3 {
		t.Errorf("three invocations sent %v", types)
	}
	total := 0
	for _, n := range types {
		total += n
	}
	if total != 3*agents.ThundraRecords {
		t.Errorf("three invocations sent %d records, not %d each", total, agents.ThundraRecords)
	}
}

func TestTelemetrygenOverHTTP(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	received := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-Api-Key") != "secret" {
			t.Errorf("key %q, %v", r.Header.Get("X-Api-Key"), err)
		}
		mu.Lock()
		defer mu.Unlock()
		switch r.URL.Path {
		case "/v1/traces":
			request := ptraceotlp.NewExportRequest()
			err = request.UnmarshalProto(body)
			received["traces"] += request.Traces().SpanCount()
		case "/v1/logs":
			request := plogotlp.NewExportRequest()
			err = request.UnmarshalProto(body)
			received["logs"] += request.Logs().LogRecordCount()
		case "/v1/metrics":
			request := pmetricotlp.NewExportRequest()
			err = request.UnmarshalProto(body)
			received["metrics"] += request.Metrics().DataPointCount()
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	installed := install(t)
	for _, signal := range []agents.Signal{agents.Traces, agents.Logs, agents.Metrics} {
		sent := agents.OTLP{Signal: signal, HTTP: true, Address: address.Host, Key: "secret", Service: "orders", Count: 7}
		if err := installed.OTLP(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		if received[string(signal)] != sent.Records() {
			t.Errorf("%d %s came, %d were to be sent", received[string(signal)], signal, sent.Records())
		}
		mu.Unlock()
	}
}

// A collector that never answers must not go unnoticed.
func TestAgentFailuresAreReported(t *testing.T) {
	t.Parallel()
	installed := install(t)
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	for _, signal := range []agents.Signal{agents.Traces, agents.Logs, agents.Metrics} {
		if err := installed.OTLP(t.Context(), agents.OTLP{Signal: signal, HTTP: true, Address: address, Service: "s", Count: 1}); err == nil {
			t.Errorf("telemetrygen %s reports no error where every post is answered 404", signal)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	empty := grpc.NewServer() // knows no service
	go func() { _ = empty.Serve(listener) }()
	defer empty.Stop()
	if err := installed.OTLP(t.Context(), agents.OTLP{Signal: agents.Traces, Address: listener.Addr().String(), Service: "s", Count: 1}); err == nil {
		t.Error("telemetrygen reports no error where no server takes traces")
	}
}
