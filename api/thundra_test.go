package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestThundraBecomesStreamRecords(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, path := range []string{"/v1/monitoring-data", "/v1/composite-monitoring-data"} {
		r := c.postText(t, path, thundraPost, "Content-Type", "application/json")
		if r.status != 200 || string(r.body) != `{"accepted":4,"rejected":[]}`+"\n" {
			t.Fatalf("answered %d %s", r.status, r.body)
		}
		got := c.stream.take(t)
		for i, want := range []struct{ id, recordType, index, at, body string }{
			{
				"i-1", "invocation", "telemetry-invocation-2026.11.23", "2026-11-23T10:00:00.123Z",
				`{"agentVersion":"3.0.10","dataModelVersion":"2.0","traceId":"t-1","startTimestamp":1795428000123,"finishTimestamp":1795428000200,"duration":77,"erroneous":false,"applicationTags":{},"userTags":{"a":1}}`,
			},
			{"s-1", "span", "telemetry-span-2026.11.23", "2026-11-23T10:00:00.124Z", `{"startTimestamp":1795428000124,"logs":[],"tags":{"x":"y"}}`},
			{"l-1", "log", "telemetry-log-2026.11.23", "2026-11-23T10:00:00.125Z", `{"logMessage":"hello","logTimestamp":1795428000125}`},
			{"m-1", "metric", "telemetry-metric-undated", "", `{"metricTimestamp":5,"metrics":{"app.cpuLoad":0.5}}`},
		} {
			if body := headOf(t, got[i], want.id, want.recordType, want.index, want.at); !reflect.DeepEqual(body, object(t, want.body)) {
				t.Errorf("record %d: the body is %v, want %s", i, body, want.body)
			}
		}
	}
}

func TestCompositesAreUnpacked(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	// The common members may stand on either side of the list.
	r := c.postText(t, "/v1/composite-monitoring-data", `{"apiKey":"secret","type":"Composite","dataModelVersion":"2.0","data":{
		"id":"c-1","type":"Composite","agentVersion":"3.0.10","applicationName":"orders","startTimestamp":1,
		"allMonitoringData":[
			{"id":"i-1","type":"Invocation","startTimestamp":1795428000123},
			{"type":"Span"},
			7,
			{"id":"s-1","type":"Span","startTimestamp":1795428000124,"applicationName":"own"},
			{"id":"x"}
		],
		"applicationTags" : { "a" : 1 },"tenant":"other"}}`)
	if r.status != 200 || r.Accepted != 3 || !slices.Equal(r.Rejected, []Rejection{{Position: 2, Reason: "is not a JSON object"}, {Position: 4, Reason: "has no type"}}) {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	got := c.stream.take(t)
	body := headOf(t, got[0], "i-1", "invocation", "telemetry-invocation-2026.11.23", "2026-11-23T10:00:00.123Z")
	if want := object(t, `{"startTimestamp":1795428000123,"agentVersion":"3.0.10","applicationName":"orders","applicationTags":{"a":1},"original_tenant":"other"}`); !reflect.DeepEqual(body, want) {
		t.Errorf("the body is %v, want %v", body, want)
	}
	body = headOf(t, got[1], got[1]["id"].(string), "span", "telemetry-span-undated", "")
	if want := object(t, `{"agentVersion":"3.0.10","applicationName":"orders","applicationTags":{"a":1},"original_tenant":"other"}`); !reflect.DeepEqual(body, want) || !strings.HasSuffix(got[1]["id"].(string), "-1") {
		t.Errorf("%v: the body is %v, want %v", got[1]["id"], body, want)
	}
	body = headOf(t, got[2], "s-1", "span", "telemetry-span-2026.11.23", "2026-11-23T10:00:00.124Z")
	if want := object(t, `{"startTimestamp":1795428000124,"agentVersion":"3.0.10","applicationName":"own","applicationTags":{"a":1},"original_tenant":"other"}`); !reflect.DeepEqual(body, want) {
		t.Errorf("the body is %v, want %v", body, want)
	}
}

func TestBadEnvelopes(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for envelope, reason := range map[string]string{
		`1`:                                   "is not a JSON object",
		`{"type":"Span"}`:                     "has no data",
		`{"type":"Span","data":[]}`:           "is not a JSON object",
		`{"type":"Span","data":{},"data":{}}`: `has "data" twice`,
		`{"type":1,"data":{}}`:                "type is not a string",
		`{"data":{"id":"x"}}`:                 "has no type",
		`{"type":"Composite","data":{}}`:      "has no list allMonitoringData",
		`{"type":"Composite","data":[]}`:      "has no list allMonitoringData",
		"{\"type\":\"S\xff\",\"data\":{}}":    "type is not valid UTF-8",
		"{\"type\":\"Composite\",\"data\":{\"\xff\":1,\"allMonitoringData\":[{\"type\":\"Span\"}]}}":     "is not valid UTF-8 in what it has in common with others",
		"{\"type\":\"Composite\",\"data\":{\"a\":\"\xff\",\"allMonitoringData\":[{\"type\":\"Span\"}]}}": "is not valid UTF-8 in what it has in common with others",
		`{"type":"Span","data":{"id":[]}}`: "id is neither a string nor a number",
	} {
		r := c.postText(t, "/v1/monitoring-data", "["+envelope+`,{"type":"Span","data":{"id":"good"}}]`)
		if r.status != 200 || r.Accepted != 1 || !slices.Equal(r.Rejected, []Rejection{{Reason: reason}}) {
			t.Errorf("%s: answered %d %s, want %s", envelope, r.status, r.body, reason)
		}
	}
	if r := c.postText(t, "/v1/monitoring-data", `[{"type":"Composite","data":{"allMonitoringData":[]}}]`); r.status != 200 || r.Accepted != 0 {
		t.Errorf("an empty composite: answered %d %s", r.status, r.body)
	}
}
