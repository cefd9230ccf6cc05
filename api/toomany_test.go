package api

import (
	"slices"
	"testing"
)

// Too many records cost only those beyond the limit, which are named in one
// rejection, however many they are.
func TestOnlyRecordsBeyondLimitAreLeftOut(t *testing.T) {
	t.Parallel()
	const a, b, c, d, e = `{"id":"a","type":"log"}`, `{"id":"b","type":"log"}`, `{"id":"c","type":"log"}`, `{"id":"d","type":"log"}`, `{"id":"e","type":"log"}`
	const reason = "left out, since a request may have 3"
	rest := []Rejection{{Position: 3, Last: 4, Reason: reason}}
	for name, test := range map[string]struct {
		path, mediaType, body string
		rejected              []Rejection
	}{
		"an array":            {"/v1/telemetry", "application/json", "[" + a + "," + b + "," + c + "," + d + "," + e + "]", rest},
		"an array, one more":  {"/v1/telemetry", "application/json", "[" + a + "," + b + "," + c + "," + d + "]", []Rejection{{Position: 3, Reason: reason}}},
		"whatever they are":   {"/v1/telemetry", "application/json", "[" + a + "," + b + "," + c + `,7,{"type":[]}]`, rest},
		"bad ones before":     {"/v1/telemetry", "application/json", "[" + a + ",1," + c + "," + d + "," + e + "]", append([]Rejection{{Position: 1, Reason: "is not a JSON object"}}, rest...)},
		"lines":               {"/v1/telemetry", "application/x-ndjson", a + "\n" + b + "\n" + c + "\n\n" + d + "\nno JSON\n\n", rest},
		"no media type":       {"/v1/telemetry", "", a + "\n" + b + "\n" + c + "\n" + d + "\n" + e, rest},
		"envelopes":           {"/v1/monitoring-data", "application/json", "[" + envelopeOf(a) + "," + envelopeOf(b) + "," + envelopeOf(c) + "," + envelopeOf(d) + ",1]", rest},
		"one envelope":        {"/v1/monitoring-data", "application/json", compositeOf(a, b, c, d, e), rest},
		"more than one, full": {"/v1/composite-monitoring-data", "application/json", "[" + compositeOf(a, b, c) + "," + compositeOf(d, e) + "]", rest},
	} {
		collector := newCollector(t, Limits{Records: 3})
		r := collector.postText(t, test.path, test.body, "Content-Type", test.mediaType)
		if r.status >= 300 || r.Accepted != 4-len(test.rejected) || !slices.Equal(r.Rejected, test.rejected) {
			t.Errorf("%s: answered %d %s", name, r.status, r.body)
		}
		for _, document := range collector.stream.take(t) {
			if id := document["id"]; id != "a" && id != "b" && id != "c" {
				t.Errorf("%s: %v came through", name, id)
			}
		}
	}
}

func envelopeOf(record string) string { return `{"type":"Log","data":` + record + `}` }

func compositeOf(records ...string) string {
	list := ""
	for i, record := range records {
		if i > 0 {
			list += ","
		}
		list += record
	}
	return `{"type":"Composite","data":{"k":1,"allMonitoringData":[` + list + `]}}`
}

// A line is taken only once its end is known: one that turns out wrong leaves
// nothing behind, not even its id.
func TestBadLineLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	r := c.postText(t, "/v1/telemetry", `{"id":"a","type":"log","n":1} x`+"\n1 2\n"+`{"id":"a","type":"log","n":2}`, "Content-Type", "application/x-ndjson")
	if r.status != 202 || r.Accepted != 1 || !slices.Equal(r.positions(), []int{0, 1}) {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	if got := c.stream.take(t); len(got) != 1 || got[0]["id"] != "a" {
		t.Errorf("came through: %v", got)
	}
}
