package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/internal/telemetry"
	"millrace/test/kit/agents"
)

// checkHead holds a document to what every one has, whatever its protocol.
func (s *system) checkHead(d document, at time.Time) {
	s.t.Helper()
	text := func(name string) string {
		value, _ := d.get(name).(string)
		return value
	}
	instant := func(name string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, text(name))
		if err != nil {
			s.t.Errorf("%s of %s: %v", name, d.ID, err)
		}
		return parsed
	}
	if want := telemetry.NewDocID(s.tenant, d.Index, text("id")).String(); d.ID != want {
		s.t.Errorf("_id of %s in %s is %s, want %s", text("id"), d.Index, d.ID, want)
	}
	if strings.HasSuffix(d.Index, "-undated") {
		if !instant("@timestamp").Equal(instant("received_at")) {
			s.t.Errorf("%s has no usable time, but @timestamp %s", text("id"), text("@timestamp"))
		}
	} else if want := telemetry.IndexName(text("type"), instant("@timestamp")); d.Index != want {
		s.t.Errorf("%s is in %s, want %s", text("id"), d.Index, want)
	}
	if text("tenant") != s.tenant || text("region") != "eu-west-1" {
		s.t.Errorf("%s is of tenant %s, region %s", text("id"), text("tenant"), text("region"))
	}
	received, indexed := instant("received_at"), instant("indexed_at")
	if received.Before(at.Truncate(time.Millisecond)) || indexed.Before(received) || indexed.After(time.Now().Add(time.Second)) {
		s.t.Errorf("%s was received at %v and indexed at %v, in a test that began at %v", text("id"), received, indexed, at)
	}
	for _, name := range []string{"doc_id", "index", "apiKey"} {
		if d.get(name) != nil {
			s.t.Errorf("%s has %s", text("id"), name)
		}
	}
}

// check compares members of a document.
func (s *system) check(d document, want map[string]any) {
	s.t.Helper()
	for path, value := range want {
		if got := d.get(path); fmt.Sprint(got) != fmt.Sprint(value) {
			s.t.Errorf("%s of %s %v is %v, want %v", path, d.get("type"), d.get("id"), got, value)
		}
	}
}

func TestThundraAgentRecordsAreIndexed(t *testing.T) {
	t.Parallel()
	s, began := start(t, nil), time.Now()
	a, err := installed()
	s.must(err)
	const invocations = 3
	s.must(a.Thundra(t.Context(), s.collector.URL, s.key, invocations))

	types, orders, cold := map[any]int{}, map[any]bool{}, 0
	traces := map[any]int{} // records of each
	for _, d := range s.awaitDocuments(invocations * agents.ThundraRecords) {
		s.checkHead(d, began)
		types[d.get("type")]++
		traces[d.get("traceId")]++
		s.check(d, map[string]any{
			"applicationName": "orders", "applicationRuntime": "python", "agentVersion": "3.0.10",
		})
		switch d.get("type") {
		case "invocation":
			s.check(d, map[string]any{"erroneous": false, "timeout": false, "applicationPlatform": "AWS-Lambda"})
			if d.get("coldStart") == true {
				cold++
			}
		case "span":
			if name := d.get("operationName"); name != "orders" && name != "price" {
				t.Errorf("a span of %v", name)
			}
			if !(d.number("duration") >= 0) {
				t.Errorf("a span took %v ms", d.get("duration"))
			}
		case "log":
			s.check(d, map[string]any{"logLevel": "INFO", "logContextName": "orders"})
			orders[d.get("logMessage")] = true
		}
	}
	if types["invocation"] != invocations || types["span"] != 2*invocations || types["log"] != invocations {
		t.Errorf("%d invocations are %v", invocations, types)
	}
	if cold != 1 || len(traces) != invocations || !orders["order 0"] || !orders["order 1"] || !orders["order 2"] {
		t.Errorf("%d cold starts, records by trace %v, logs %v", cold, traces, orders)
	}
}

func TestTelemetrygenRecordsAreIndexed(t *testing.T) {
	t.Parallel()
	s, began := start(t, nil), time.Now()
	a, err := installed()
	s.must(err)
	const count = 7
	signals := []agents.Signal{agents.Traces, agents.Logs, agents.Metrics}
	services := map[string]agents.OTLP{}
	total := 0
	for _, signal := range signals {
		for _, http := range []bool{true, false} {
			o := agents.OTLP{Signal: signal, HTTP: http, Key: s.key, Count: count, Service: fmt.Sprintf("%s-%v", signal, http)}
			o.Address = s.collector.GRPC
			if http {
				o.Address = strings.TrimPrefix(s.collector.URL, "http://")
			}
			s.must(a.OTLP(t.Context(), o))
			services[o.Service] = o
			total += o.Records()
		}
	}
	found := map[string]int{}
	children, traces := map[any]string{}, map[any]bool{}
	for _, d := range s.awaitDocuments(total) {
		s.checkHead(d, began)
		service, _ := d.get("resource/attributes").(map[string]any)["service.name"].(string)
		found[service]++
		switch services[service].Signal {
		case agents.Traces:
			s.check(d, map[string]any{"type": "span", "status/code": "Unset", "scope/name": "telemetrygen"})
			if id := fmt.Sprint(d.get("id")); !strings.HasPrefix(id, fmt.Sprintf("%v-%v-", d.get("trace_id"), d.get("span_id"))) {
				t.Errorf("the id of a span is %s", id)
			}
			if !(d.number("duration") > 0) {
				t.Errorf("a span took %v ns", d.get("duration"))
			}
			switch d.get("name") {
			case "lets-go":
				s.check(d, map[string]any{"kind": "Client"})
				traces[d.get("trace_id")] = true
			case "okey-dokey-0":
				s.check(d, map[string]any{"kind": "Server"})
				children[d.get("trace_id")], _ = d.get("parent_span_id").(string)
			default:
				t.Errorf("a span %v", d.get("name"))
			}
		case agents.Logs:
			s.check(d, map[string]any{"type": "log", "severity_text": "Info", "severity_number": 9, "body/text": "the message"})
		case agents.Metrics:
			s.check(d, map[string]any{"type": "metric", "name": "gen", "metric_type": "gauge"})
			if value := d.number("value"); !(value >= 0 && value < count) {
				t.Errorf("a metric of %v", d.get("value"))
			}
		default:
			t.Errorf("a document of service %q", service)
		}
	}
	for service, o := range services {
		if found[service] != o.Records() {
			t.Errorf("%s: %d documents, want %d", service, found[service], o.Records())
		}
	}
	if len(traces) != 2*count || len(children) != 2*count {
		t.Errorf("%d roots and %d children, want %d", len(traces), len(children), 2*count)
	}
	for trace, parent := range children {
		if !traces[trace] || len(parent) != 16 {
			t.Errorf("a child of span %q in trace %v", parent, trace)
		}
	}
}

// What no agent here sends: composite payloads as agents in Lambda extensions
// make them, and OTLP in JSON, compressed.
func TestRareProtocolFormsAreIndexed(t *testing.T) {
	t.Parallel()
	s, began := start(t, nil), time.Now()
	now := time.Now()
	s.post("/v1/composite-monitoring-data", "application/json", fmt.Appendf(nil,
		`{"apiKey":"secret","type":"Composite","dataModelVersion":"2.0","data":{"applicationName":"orders","allMonitoringData":[
			{"id":"c-1","type":"Span","operationName":"get","startTimestamp":%[1]d},{"id":"c-2","type":"Log","logMessage":"hello","logTimestamp":%[1]d}]}}`,
		now.UnixMilli()), http.StatusOK)
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	_, err := fmt.Fprintf(writer, `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"json"}}]},"scopeLogs":[{"logRecords":[
		{"timeUnixNano":"%d","severityText":"WARN","severityNumber":13,"body":{"stringValue":"same"}},
		{"timeUnixNano":"%[1]d","severityText":"WARN","severityNumber":13,"body":{"stringValue":"same"}}]}]}]}`, now.UnixNano())
	s.must(err)
	s.must(writer.Close())
	for range 2 { // an agent's retry is the same two records
		s.post("/v1/logs", "application/json", compressed.Bytes(), http.StatusOK, "Content-Encoding", "gzip")
	}
	logs := 0
	for _, d := range s.awaitDocuments(4) {
		s.checkHead(d, began)
		switch d.get("id") {
		case "c-1":
			s.check(d, map[string]any{"type": "span", "operationName": "get", "applicationName": "orders"})
		case "c-2":
			s.check(d, map[string]any{"type": "log", "logMessage": "hello", "applicationName": "orders"})
		default:
			logs++
			s.check(d, map[string]any{"type": "log", "severity_text": "WARN", "severity_number": 13, "body/text": "same",
				"@timestamp": now.UTC().Format(time.RFC3339Nano)})
		}
	}
	if logs != 2 {
		t.Errorf("two equal log lines are %d documents", logs)
	}
}

// Our own protocol in both of its forms, with a record that comes twice, one
// that the collector refuses, and one that the index refuses.
func TestOwnProtocolRecordsAreIndexed(t *testing.T) {
	t.Parallel()
	s, began := start(t, nil), time.Now()
	s.leaveLetters()
	at := time.Now().UTC().Format(time.RFC3339Nano)
	line := func(format string, args ...any) string {
		return strings.ReplaceAll(fmt.Sprintf(format, args...), "NOW", at)
	}
	span := line(`{"id":"own-1","type":"Span","timestamp":"NOW","name":"GET /","duration":1500000,"attributes":{"http.route":"/","deep":{"er":[1,"two"]}},"tenant":"another tenant"}`)
	answer := s.post("/v1/telemetry", "application/json", []byte("["+span+`,{"type":3},`+span+"]"), http.StatusAccepted)
	var judged struct {
		Accepted int
		Rejected []struct {
			Position int
			Reason   string
		}
	}
	s.must(json.Unmarshal(answer, &judged))
	if judged.Accepted != 2 || len(judged.Rejected) != 1 || judged.Rejected[0].Position != 1 || judged.Rejected[0].Reason == "" {
		t.Errorf("answered %s", answer)
	}
	s.post("/v1/telemetry", "application/x-ndjson", []byte(
		line(`{"id":"own-2","type":"log","timestamp":"NOW","severity_text":"WARN","body":{"text":"grüße"}}`)+"\n"+
			line(`{"id":"own-3","type":"mine","timestamp":"1995-01-01T00:00:00Z","surprise":{"kept":[true,null]}}`)+"\n"+
			line(`{"id":"own-4","type":"span","timestamp":"NOW","duration":"forever"}`)+"\n"), http.StatusAccepted)

	byID := map[any]document{}
	for _, d := range s.awaitDocuments(3) {
		s.checkHead(d, began)
		byID[d.get("id")] = d
	}
	s.check(byID["own-1"], map[string]any{"type": "span", "name": "GET /", "duration": 1.5e6, "attributes/http.route": "/",
		"attributes/deep/er": []any{1, "two"}, "timestamp": nil})
	s.check(byID["own-2"], map[string]any{"type": "log", "severity_text": "WARN", "body/text": "grüße"})
	s.check(byID["own-3"], map[string]any{"type": "mine", "surprise/kept": []any{true, nil}})
	if index := byID["own-3"].Index; index != "telemetry-other-undated" {
		t.Errorf("a record of 1995 is in %s", index)
	}
	s.awaitDead(map[string]string{"own-4": "document_parsing_exception"})
}
