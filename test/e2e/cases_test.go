package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// agentCase is what some agent really sends, and what is to become of it.
type agentCase struct {
	name  string // why agents send it
	posts []casePost
	found []caseFound
}

// casePost is a request. Bodies and names have DAY, MILLIS, SECONDS and NANOS for
// the time of the records, ten o'clock yesterday.
type casePost struct {
	path, mediaType, body string
	gzip                  bool
	headers               []string // names and values
	says                  string   // part of the answer
}

// caseFound is which documents there are, by a member of theirs.
type caseFound struct {
	path, value string // of the member; a value that ends with an asterisk is a prefix
	count       int
	index       string            // of each, where it matters
	has         map[string]string // members of each
	lacks       []string
}

const (
	asJSON   = "application/json"
	asLines  = "application/x-ndjson"
	asProto  = "application/x-protobuf"
	byID     = "id"
	byServer = "resource/attributes/service.name"
)

// spansOf is a request of a service in OTLP/JSON.
func spansOf(service string, spans ...string) casePost {
	return casePost{path: "/v1/traces", mediaType: asJSON, body: `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"` +
		service + `"}}]},"scopeSpans":[{"spans":[` + strings.Join(spans, ",") + `]}]}]}`}
}

func logsOf(service string, logs ...string) casePost {
	return casePost{path: "/v1/logs", mediaType: asJSON, body: `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"` +
		service + `"}}]},"scopeLogs":[{"logRecords":[` + strings.Join(logs, ",") + `]}]}]}`}
}

func metricsOf(service string, metrics ...string) casePost {
	return casePost{path: "/v1/metrics", mediaType: asJSON, body: `{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"` +
		service + `"}}]},"scopeMetrics":[{"metrics":[` + strings.Join(metrics, ",") + `]}]}]}`}
}

func lines(records ...string) casePost {
	return casePost{path: "/v1/telemetry", mediaType: asLines, body: strings.Join(records, "\n")}
}

// span is one whose ids end alike.
func span(n int, members string) string {
	return fmt.Sprintf(`{"traceId":"%032x","spanId":"%016x",%s}`, n, n, members)
}

// Whatever agents really send is found, or they are told at once that it is not:
// all by one collector and one worker. A body that stalls takes a minute, and is
// tested beside the collector; how long an old record is kept, with retention.
func TestAgentPayloadsAreIndexedOrRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(-14 * time.Hour)
	fill := strings.NewReplacer(
		"DAY", at.Format("2006-01-02"), "DATE", at.Format("2006.01.02"), "MILLIS", fmt.Sprint(at.UnixMilli()), "SECONDS", fmt.Sprint(at.Unix()), "NANOS", fmt.Sprint(at.UnixNano()),
	).Replace
	total := 0
	for _, c := range agentCases() {
		for _, p := range c.posts {
			answer := s.postCase(p, fill)
			if !strings.Contains(answer, p.says) {
				t.Errorf("%s: the answer has no %q: %s", c.name, p.says, answer)
			}
		}
		for _, f := range c.found {
			total += f.count
		}
	}
	documents := s.awaitDocuments(total)
	for _, c := range agentCases() {
		for _, f := range c.found {
			s.checkCase(c.name, f, documents, fill)
		}
	}
	if dead := s.ledger(); len(dead) > 0 {
		t.Errorf("the ledger holds %v", dead)
	}
	s.checkConflict(fill, total)
	s.checkPreflights()
}

// checkConflict posts what says something else under the id of a document: that
// stays, and it is no duplicate.
func (s *system) checkConflict(fill func(string) string, total int) {
	s.t.Helper()
	s.postCase(lines(`{"id":"twice","type":"log","timestamp":"DAYT10:00:00Z","name":"third"}`), fill)
	s.await(func() error {
		conflicts, err := s.worker.Metric(s.t.Context(), "millrace_process_records_total", `outcome="conflict"`)
		if err == nil && conflicts != 1 {
			err = fmt.Errorf("%v conflicts", conflicts)
		}
		return err
	})
	s.checkCase("a conflict", caseFound{path: byID, value: "twice", count: 1, has: map[string]string{"name": "first"}}, s.awaitDocuments(total), fill)
}

// postCase posts a request, which must be taken.
func (s *system) postCase(p casePost, fill func(string) string) string {
	s.t.Helper()
	body, headers := []byte(fill(p.body)), p.headers
	if p.gzip {
		var packed bytes.Buffer
		writer := gzip.NewWriter(&packed)
		_, err := writer.Write(body)
		s.must(err)
		s.must(writer.Close())
		body = packed.Bytes()
	}
	want := http.StatusOK
	if strings.HasSuffix(p.path, "/telemetry") {
		want = http.StatusAccepted
	}
	return string(s.post(p.path, p.mediaType, body, want, headers...))
}

// checkCase compares the documents of a case with what is to be there.
func (s *system) checkCase(name string, f caseFound, documents []document, fill func(string) string) {
	s.t.Helper()
	var of []document
	for _, d := range documents {
		text := fmt.Sprint(d.get(f.path))
		if prefix, all := strings.CutSuffix(f.value, "*"); text == f.value || all && strings.HasPrefix(text, prefix) {
			of = append(of, d)
		}
	}
	if len(of) != f.count {
		s.t.Errorf("%s: %d documents with %s %s, want %d", name, len(of), f.path, f.value, f.count)
	}
	for _, d := range of {
		if f.index != "" && d.Index != fill(f.index) {
			s.t.Errorf("%s: %v is in %s, want %s", name, d.get(f.path), d.Index, fill(f.index))
		}
		for path, want := range f.has {
			if got := textOf(d.get(path)); got != fill(want) {
				s.t.Errorf("%s: %s of %v is %s, want %s", name, path, d.get(f.path), got, fill(want))
			}
		}
		for _, path := range f.lacks {
			if got := d.get(path); got != nil {
				s.t.Errorf("%s: %v has %s: %v", name, d.get(f.path), path, got)
			}
		}
	}
}

// textOf writes a member, whole numbers without an exponent.
func textOf(value any) string {
	if n, ok := value.(float64); ok {
		return fmt.Sprintf("%.10g", n)
	}
	return fmt.Sprint(value)
}

// checkPreflights asks as a browser does before it posts, without a key.
func (s *system) checkPreflights() {
	s.t.Helper()
	for origin, want := range map[string]int{pageOrigin: http.StatusNoContent, "https://other.example": http.StatusForbidden} {
		request, err := http.NewRequestWithContext(s.t.Context(), http.MethodOptions, s.collector.URL+"/v1/traces", nil)
		s.must(err)
		for pair := range slices.Chunk([]string{"Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type"}, 2) {
			request.Header.Set(pair[0], pair[1])
		}
		s.do(request, want)
	}
}
