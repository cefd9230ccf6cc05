package api

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/internal/index"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// everything posts what every protocol can bring, strange times and numbers
// among it, and returns the stream records.
func everything(t *testing.T) [][]byte {
	t.Helper()
	c := newCollector(t, Limits{})
	post := func(path, mediaType, body string) {
		if r := c.postText(t, path, body, "Content-Type", mediaType); r.status >= 300 || len(r.Rejected) > 0 {
			t.Fatalf("%s: answered %d %s", path, r.status, r.body)
		}
	}
	for _, s := range samples(t) {
		post(s.signal.path, "application/x-protobuf", string(s.asProto))
	}
	post("/v1/monitoring-data", "application/json", thundraPost)
	post("/v1/telemetry", "application/json", `[
		{"id":"odd","type":"log","_id":1,"_doc_count":7,"":2,".a":3,"a.":4,"a..b":5," ":6,"duration.ms":7,"tenant.plan":8,"attributes.x":9,"status":{"code":"Ok",".":10," ":11,"x.":[12]},"metrics":[{"app":{"cpuLoad":NaN,"a..b":1}}],"count":18446744073709551615,"value":"Infinity","observed_timestamp":1.7957736E12,"startTimestamp":"2026-11-27t10:00:00z","x":{"\ud800":1,"\udfff":2},"Tenant":13,"original_members":14},
		{"id":"a","type":"Strange/Type","timestamp":1e300,"x":{"y":[1,"\ud800"]}},
		{"type":"log","timestamp":{"at":"noon"},"body":{"text":"hello"}},
		{"id":"`+strings.Repeat("é", maxIDSize)+`","type":"`+strings.Repeat("é", maxTypeSize)+`","timestamp":"2026-11-23T10:00:00.999999999Z"}]`)
	return c.stream.records
}

// Whatever the collector takes from a well-behaved agent, both servers take.
func TestAcceptedRecordsCanBeIndexed(t *testing.T) {
	t.Parallel()
	records := everything(t)
	for flavor, url := range map[index.Flavor]string{
		index.Elasticsearch: localtest.Elasticsearch(t), index.OpenSearch: localtest.OpenSearch(t),
	} {
		t.Run(string(flavor), func(t *testing.T) {
			t.Parallel()
			client, err := index.Open(index.Settings{URLs: []string{url}, Flavor: flavor})
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Setup(t.Context(), index.Layout{Shards: 1}); err != nil {
				t.Fatal(err)
			}
			// An index of its own: in the one named, a run before has left the
			// same documents.
			name := telemetry.IndexPrefix + localtest.Name(t, "api")
			admin := localtest.Client(t)
			t.Cleanup(func() {
				request, err := http.NewRequest(http.MethodDelete, url+"/"+name, nil) //nolint:noctx // the test's has ended
				if err == nil {
					if response, err := admin.Do(request); err == nil {
						_ = response.Body.Close()
					}
				}
			})
			bulk := &sink.Bulk{}
			for _, data := range records {
				r, err := telemetry.Parse(data)
				if err != nil {
					t.Fatal(err)
				}
				r.Index = []byte(name)
				bulk.Add(r, time.Now())
			}
			result := client.Do(t.Context(), bulk)
			for _, item := range result.Items {
				t.Errorf("%+v: %s", item, records[item.Position])
			}
			if result.Class != outcome.Indexed {
				t.Errorf("%+v", result)
			}
		})
	}
}

// Every field that the collector adds is described in the one place where fields
// are described.
func TestSchemaDescribesEveryWrittenField(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../deploy/schema.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{"doc_id": true, "index": true} // of the head alone
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*)$").FindAllStringSubmatch(string(text), -1) {
		// A row may name its neighbours too.
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			described[strings.Split(name[1], ".")[0]] = true
			described[name[1]] = true
		}
	}
	for _, data := range everything(t) {
		var document map[string]json.RawMessage
		if err := json.Unmarshal(data, &document); err != nil {
			t.Fatal(err)
		}
		for name, value := range document {
			if name == "x" { // a user's own
				continue
			}
			if !described[name] {
				t.Errorf("%s is not described: %s", name, data)
			}
			var inner map[string]json.RawMessage
			if name == "resource" || name == "scope" || name == "status" || name == "body" {
				if err := json.Unmarshal(value, &inner); err != nil {
					t.Fatal(err)
				}
			}
			for child := range inner {
				if child != originalMembers && !described[name+"."+child] {
					t.Errorf("%s.%s is not described", name, child)
				}
			}
		}
	}
}
