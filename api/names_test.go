package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// What Elasticsearch cannot take as it is must be found in the record all the
// same, and must not stand where it means something else.
func TestMendKeepsNamesElasticsearchRefuses(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, test := range []struct{ name, members, want string }{
		{
			"Elasticsearch's own names", `"_id":1,"_source":{"a":1},"_doc_count":1000,"_":null,"__a":"b"`,
			`{"original_members":{"_id":1,"_source":{"a":1},"_doc_count":1000,"_":null,"__a":"b"}}`,
		},
		{"no name", `"":1`, `{"original_members":{"":1}}`},
		{
			"dots that lead nowhere", `".a":1,"a.":[2],"a..b":3,".":4," ":5,"a. .b":6,"\u001c":7,"\u2003":8`,
			`{"original_members":{".a":1,"a.":[2],"a..b":3,".":4," ":5,"a. .b":6,"\u001c":7,"\u2003":8}}`,
		},
		{
			"dots below what is no object", `"duration.ms":1,"name.first":"x","tenant.plan":"gold","status.code.x":2,"attributes.a":3,"tenant.":"victim","_id.x":4`,
			`{"original_members":{"duration.ms":1,"name.first":"x","tenant.plan":"gold","status.code.x":2,"attributes.a":3,"tenant.":"victim","_id.x":4}}`,
		},
		{"dots that are right", `"status.code":"Ok","metrics.app.x":1,"a.b.c":2,"status._id":3`, `{"status.code":"Ok","metrics.app.x":1,"a.b.c":2,"status._id":3}`},
		{
			"names within mapped objects", `"status":{"code":"Ok",".a":1},"resource":[{"attributes":{".":1}},[{"a..b":2,"_id":3}]],"metrics":{"app":{" ":4}}`,
			`{"status":{"code":"Ok","original_members":{".a":1}},"resource":[{"attributes":{".":1}},[{"_id":3,"original_members":{"a..b":2}}]],"metrics":{"app":{"original_members":{" ":4}}}}`,
		},
		{"names within others", `"x":{".a":{"":1}},"attributes":{"..":1}`, `{"x":{".a":{"":1}},"attributes":{"..":1}}`},
		{
			"the head's names in other letters", `"Tenant":1,"DOC_ID":2,"Index":3,"Received_At":4,"rEgion":5,"ID":6,"Type":7,"@TimeStamp":8,"Indexed_at":9,"Digest":10,"digests":11`,
			`{"digests":11,"original_tenant":1,"original_doc_id":2,"original_index":3,"original_received_at":4,"original_region":5,"original_id":6,"original_type":7,
			"original_@timestamp":8,"original_indexed_at":9,"original_digest":10}`,
		},
		{"letters that fold", `"@time` + "\u017f" + `tamp":1`, `{"original_@time` + "\u017f" + `tamp":1}`},
		{
			"names that are taken", `"tenant":1,"TENANT":2,"original_tenant":3,"original_members":4`,
			`{"original_tenant":3,"original_members":{"original_members":4,"tenant":1,"TENANT":2}}`,
		},
		{"two times", `"@timestamp":"2020-01-01T00:00:00Z"`, `{"original_@timestamp":"2020-01-01T00:00:00Z"}`},
		{
			"numbers beyond their fields", `"count":18446744073709551615,"value":"NaN","sum":NaN,"min":-Infinity,"max":1e400,"duration":-9223372036854775809,"x":1e400`,
			`{"x":1e400,"original_count":18446744073709551615,"original_value":"NaN","original_sum":"NaN","original_min":"-Infinity","original_max":1e400,"original_duration":-9223372036854775809}`,
		},
		{
			"numbers within them", `"count":1e3,"value":"1e300","sum":-1.5,"duration":9223372036854775807,"flags":"forever"`,
			`{"count":1e3,"value":"1e300","sum":-1.5,"duration":9223372036854775807,"flags":"forever"}`,
		},
		{"numbers in mapped objects", `"metrics":{"app":{"cpuLoad":NaN}}`, `{"metrics":{"app":{"original_cpuLoad":"NaN"}}}`},
		{
			"times in fields", `"startTimestamp":1.7957736E12,"finishTimestamp":"1.7957736005E12","logTimestamp":1795773600000.1234567,"observed_timestamp":"2026-11-27t10:00:00.5z","start_timestamp":"yesterday","metricTimestamp":1e300`,
			`{"startTimestamp":1795773600000,"finishTimestamp":1795773600500,"logTimestamp":1795773600000.123456,"observed_timestamp":"2026-11-27T10:00:00.5Z","start_timestamp":"yesterday","original_metricTimestamp":1e300}`,
		},
		{"times as they are", `"startTimestamp":1795773600000.5,"finishTimestamp":-1,"observed_timestamp":"2026-11-27","logTimestamp":null`, `{"startTimestamp":1795773600000.5,"finishTimestamp":-1,"observed_timestamp":"2026-11-27","logTimestamp":null}`},
		{"a time before 1970", `"startTimestamp":-1.5e0`, `{"startTimestamp":-1.5}`},
		{
			"half a character", `"x":"a\ud800b","\udc00":["\ud83d\ude00\ud83d"],"y":{"\ud800":1,"\udfff":{"\ud800":2},"z":" \u0022 "}`,
			`{"x":"a` + "\ufffd" + `b","` + "\ufffd" + `":["😀` + "\ufffd" + `"],"y":{"` + "\ufffd" + `":1,"` + "\ufffd" + `#2":{"` + "\ufffd" + `":2},"z":" \" "}}`,
		},
		{"words that are no numbers", `"x":[NaN,Infinity,-Infinity,{"a":NaN}]`, `{"x":["NaN","Infinity","-Infinity",{"a":"NaN"}]}`},
	} {
		record := `{"id":"x","type":"log","timestamp":"2026-11-23T10:00:00Z",` + test.members + `}`
		if r := c.postText(t, "/v1/telemetry", record); r.status != 202 || r.Accepted != 1 {
			t.Errorf("%s: answered %d %s", test.name, r.status, r.body)
			continue
		}
		if data := c.stream.records[0]; bytes.Contains(data, []byte(`\ud`)) && test.name == "half a character" {
			t.Errorf("%s: half a character is left: %s", test.name, data)
		}
		body := headOf(t, c.stream.take(t)[0], "x", "log", "telemetry-log-2026.11.23", "2026-11-23T10:00:00Z")
		if want := object(t, test.want); !reflect.DeepEqual(body, want) {
			got, _ := json.Marshal(body)
			t.Errorf("%s: the body is %s, want %s", test.name, got, test.want)
		}
	}
}

// Many names that become equal cost no more each than a few.
func TestMendHandlesManyEqualNames(t *testing.T) {
	t.Parallel()
	const many = 60_000
	value := mend([]byte(`{"\ud800":1` + strings.Repeat(`,"\ud800":1`, many-1) + `}`))
	if got := object(t, string(value)); len(got) != many {
		t.Errorf("%d names are left", len(got))
	}
}

func TestLoneSurrogatesInIDsAreReplaced(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	c.postText(t, "/v1/telemetry", `{"id":"a\ud800","type":"\udc00"}`)
	if got := c.stream.take(t)[0]; got["id"] != "a\ufffd" || got["type"] != "\ufffd" {
		t.Errorf("the record is %v", got)
	}
}

func TestTimestampsAreReadInEveryForm(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	const want = "2026-11-27T10:00:00Z"
	for _, given := range []string{
		`"2026-11-27T12:00:00\u002B02:00"`, `"2026-11-27t10:00:00z"`, `"2026-11-27 10:00:00Z"`, `"2026-11-27T11:00:00+0100"`,
		`1.7957736E12`, `"1795773600000"`, `"1.7957736e+12"`, `17957736000000E-1`, `1795773600000.0`,
	} {
		if r := c.postText(t, "/v1/telemetry", fmt.Sprintf(`{"id":"x","type":"log","timestamp":%s}`, given)); r.status != 202 {
			t.Fatalf("%s: answered %d %s", given, r.status, r.body)
		}
		if body := headOf(t, c.stream.take(t)[0], "x", "log", "telemetry-log-2026.11.27", want); len(body) > 0 {
			t.Errorf("%s: the body is %v", given, body)
		}
	}
}

func TestByteOrderMarksAreSkipped(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	const mark, record = "\ufeff", `{"id":"x","type":"log"}`
	for _, test := range []struct {
		path, mediaType, body string
		records               int
	}{
		{"/v1/telemetry", "application/json", mark + "[" + record + "]", 1},
		{"/v1/telemetry", "application/json", mark + record, 1},
		{"/v1/telemetry", "application/x-ndjson", mark + record + "\n" + mark + record, 2},
		{"/v1/telemetry", "", mark + "[" + record + "]", 1},
		{"/v1/telemetry", "", mark + record + "\n" + record, 2},
		{"/v1/monitoring-data", "application/json", mark + `[{"type":"Span","data":{"id":"x"}}]`, 1},
	} {
		r := c.postText(t, test.path, test.body, "Content-Type", test.mediaType)
		if r.status >= 300 || r.Accepted != test.records || len(r.Rejected) > 0 {
			t.Errorf("%s %q %s: answered %d %s", test.path, test.mediaType, test.body, r.status, r.body)
		}
	}
}

func TestDecimalsAreShiftedExactly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		number string
		shift  int
		want   string // ~ where digits were cut off
	}{
		{"0", 0, "0"}, {"-0", 0, "-0"}, {"12", 0, "12"}, {"12.5", 0, "12~"}, {"12.0", 0, "12"}, {"12.5", 1, "125"}, {"1e3", 0, "1000"}, {"2.5E+3", 0, "2500"},
		{"2500e-2", 0, "25"}, {"2501e-2", 0, "25~"}, {"18446744073709551615", 0, "18446744073709551615"}, {"18446744073709551616", 0, ""}, {"1.8446744073709551615e19", 0, "18446744073709551615"},
		{"1e20", 0, ""}, {"1e999999999999999999999", 0, ""}, {"1e-999999999999999999999", 0, "0~"}, {"0e999999999999999999999", 0, "0"}, {"0.000e5", 0, "0"}, {"0.5", 6, "500000"}, {"-1e-7", 6, "-0~"},
		{"1.7957736005e18", 0, "1795773600500000000"}, {"123e-9", 6, "0~"},
	} {
		got := ""
		if d, ok := parseDecimal([]byte(test.number), test.shift); ok {
			got = fmt.Sprint(d.magnitude)
			if d.negative {
				got = "-" + got
			}
			if !d.exact {
				got += "~"
			}
		}
		if got != test.want {
			t.Errorf("%s by 10^%d is %s, want %s", test.number, test.shift, got, test.want)
		}
	}
}
