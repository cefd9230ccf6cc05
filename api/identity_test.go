package api

import (
	"fmt"
	"strings"
	"testing"
)

// idsOf posts OTLP in JSON and returns the ids of its records.
func (c *collector) idsOf(t *testing.T, path, body string) []string {
	t.Helper()
	if r := c.postText(t, path, body, "Content-Type", "application/json"); r.status != 200 || string(r.body) != "{}" {
		t.Fatalf("%s: answered %d %s", body, r.status, r.body)
	}
	var ids []string
	for _, document := range c.stream.take(t) {
		ids = append(ids, document["id"].(string))
	}
	return ids
}

const identitySpan = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"orders"}}]},"scopeSpans":[{"spans":[
	{"traceId":"0a0102030405060708090a0b0c0d0e0f","spanId":"ab01020304050607","parentSpanId":"0000000000000001","kind":3,"name":"GET","startTimeUnixNano":"1795773600000000000","endTimeUnixNano":"1795773600005000000"}]}]}]}`

const identityPoint = `{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"orders"}}]},"scopeMetrics":[{"metrics":[
	{"name":"m","unit":"ms","gauge":{"dataPoints":[{"timeUnixNano":"1795773600000000000","startTimeUnixNano":"1795773500000000000","asDouble":1.5,
	"attributes":[{"key":"a","value":{"stringValue":"x"}},{"key":"b","value":{"kvlistValue":{"values":[{"key":"p","value":{"intValue":1}},{"key":"q","value":{"boolValue":true}}]}}}]}]}}]}]}]}`

// These ids are those of documents that exist. A change here makes every retry
// across an upgrade a second document. Those of the samples are golden too.
func TestIdentitiesNeverChange(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	if got := c.idsOf(t, "/v1/traces", identitySpan); got[0] != "0a0102030405060708090a0b0c0d0e0f-ab01020304050607-ef7b757bff0507fe" {
		t.Errorf("the id of the span is %s", got[0])
	}
	if got := c.idsOf(t, "/v1/metrics", identityPoint); got[0] != "7b0efe671425e9331c1ac2aa0d10bb63" {
		t.Errorf("the id of the point is %s", got[0])
	}
}

func TestIdentityCoversWhatDefinesRecord(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, test := range []struct {
		path, of string
		old, new string
		same     bool
	}{
		{"/v1/traces", identitySpan, `"kind":3`, `"kind":2`, false},                         // client and server of one call
		{"/v1/traces", identitySpan, `,"endTimeUnixNano":"1795773600005000000"`, ``, false}, // exported when it began
		{"/v1/traces", identitySpan, `"orders"`, `"stock"`, false},
		{"/v1/traces", identitySpan, `"GET"`, `"PUT"`, false},
		{"/v1/traces", identitySpan, `00001"`, `00002"`, false},
		{"/v1/traces", identitySpan, `600000000000"`, `600000000001"`, false},
		{"/v1/traces", identitySpan, `"kind":3`, `"attributes":[{"key":"k8s.pod","value":{"stringValue":"x"}}],"kind":"SPAN_KIND_CLIENT"`, true}, // a gateway's
		{"/v1/traces", identitySpan, `{"resource":{"attributes":[`, `{"schemaUrl":"https://s","resource":{"attributes":[{"key":"host","value":{"stringValue":"x"}},`, true},
		{"/v1/metrics", identityPoint, `"name":"m"`, `"name":"n"`, false},
		{"/v1/metrics", identityPoint, `"orders"`, `"stock"`, false},
		{"/v1/metrics", identityPoint, `"asDouble":1.5`, `"asDouble":1.25`, false},
		{"/v1/metrics", identityPoint, `"asDouble":1.5`, `"asInt":1`, false},
		{"/v1/metrics", identityPoint, `500000000000"`, `500000000001"`, false},
		{"/v1/metrics", identityPoint, `600000000000"`, `600000000001"`, false},
		{"/v1/metrics", identityPoint, `"stringValue":"x"`, `"stringValue":"y"`, false},
		{"/v1/metrics", identityPoint, `{"intValue":1}`, `{"doubleValue":1}`, false},
		{"/v1/metrics", identityPoint, `"unit":"ms"`, `"unit":"s"`, true},
		{"/v1/metrics", identityPoint, `{"key":"p","value":{"intValue":1}},{"key":"q","value":{"boolValue":true}}`, `{"key":"q","value":{"boolValue":true}},{"key":"p","value":{"intValue":"1"}}`, true},
	} {
		changed := strings.Replace(test.of, test.old, test.new, 1)
		if changed == test.of {
			t.Fatalf("nothing is changed by %s", test.new)
		}
		before, after := c.idsOf(t, test.path, test.of), c.idsOf(t, test.path, changed)
		if (before[0] == after[0]) != test.same {
			t.Errorf("with %s the id is %s, before %s", test.new, after[0], before[0])
		}
	}
}

// Without ids or a time there is no telling whether two are one: what came is
// known by its request and its place in it.
func TestRecordsWithoutIdentityAreKnownByRequestAndPosition(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for path, body := range map[string]string{
		"/v1/traces":  spansOf(`{"name":"n"}`, `{"name":"n","spanId":"ab01020304050607"}`),
		"/v1/metrics": metricsOf(`{"gauge":{"dataPoints":[{"asInt":1},{"asInt":1}]}}`),
		"/v1/logs":    logsOf(`{"timeUnixNano":"1795773600000000000"}`, `{"timeUnixNano":"1795773600000000000"}`),
	} {
		first, again, other := c.idsOf(t, path, body), c.idsOf(t, path, body), c.idsOf(t, path, body+" ")
		if first[0] == first[1] || first[0] != again[0] || first[0] == other[0] || !strings.HasSuffix(first[1], "-1") {
			t.Errorf("%s: the ids are %v, again %v, of another request %v", path, first, again, other)
		}
	}
}

func TestSpanDurations(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for span, want := range map[string]any{
		`{"startTimeUnixNano":"1795773600000000000","endTimeUnixNano":"1795773599998000000"}`:  -2000000,
		`{"startTimeUnixNano":"0","endTimeUnixNano":"1795773600000000000"}`:                    nil,
		`{"startTimeUnixNano":"1795773600000000000"}`:                                          nil,
		`{"startTimeUnixNano":"1795773600000000000","endTimeUnixNano":"1795773600000000000"}`:  0,
		`{"startTimeUnixNano":"1795773600000000000","endTimeUnixNano":"18446744073709551615"}`: nil,
	} {
		c.postText(t, "/v1/traces", spansOf(span), "Content-Type", "application/json")
		if got := c.stream.take(t)[0]["duration"]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s took %v, want %v", span, got, want)
		}
	}
}
