package index

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/internal/limiter"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// One suite for both servers: what this package promises must hold on each.

var now = time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

// record makes the stream record of a body in an index.
func record(t testing.TB, index, id, body string) telemetry.Record {
	t.Helper()
	return recordAt(t, index, id, now, body)
}

func recordAt(t testing.TB, index, id string, timestamp time.Time, body string) telemetry.Record {
	t.Helper()
	r, err := telemetry.Parse(telemetry.AppendRecord(nil, telemetry.Head{
		Index: index, ReceivedAt: now, Tenant: "acme", Region: "eu-west-1", ID: id, Type: "span", Timestamp: timestamp,
	}, []byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func bulkOf(records ...telemetry.Record) *sink.Bulk {
	b := &sink.Bulk{}
	for _, r := range records {
		b.Add(r, now.Add(time.Second))
	}
	return b
}

// server is one real server and a client for it.
type server struct {
	url    string
	client *Client
}

func onBoth(t *testing.T, test func(t *testing.T, s server)) {
	t.Helper()
	for flavor, url := range map[Flavor]func(testing.TB) string{
		Elasticsearch: localtest.Elasticsearch, OpenSearch: localtest.OpenSearch,
	} {
		t.Run(string(flavor), func(t *testing.T) {
			t.Parallel()
			s := server{url: url(t)}
			var err error
			if s.client, err = Open(Settings{URLs: []string{s.url}, Flavor: flavor}); err != nil {
				t.Fatal(err)
			}
			test(t, s)
		})
	}
}

// call speaks with the server past our client.
func (s server) call(t testing.TB, method, path, body string) map[string]any {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := localtest.Client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	var parsed map[string]any
	if err := json.Unmarshal(answer, &parsed); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return parsed
}

// name gives an index of the test's own, which is deleted with the test if it
// exists.
func (s server) name(t testing.TB) string {
	t.Helper()
	name := telemetry.IndexPrefix + localtest.Name(t, "index") + "-2026.11.24" // with dots, as all have
	t.Cleanup(func() { s.call(t, http.MethodDelete, "/"+name+"?ignore_unavailable=true", "") })
	return name
}

// plain gives an index that has nothing of the installed templates.
func (s server) plain(t testing.TB) string {
	t.Helper()
	name := s.name(t)
	s.call(t, http.MethodPut, "/_index_template/"+name, `{"index_patterns":["`+name+`"],"priority":1000}`)
	t.Cleanup(func() { s.call(t, http.MethodDelete, "/_index_template/"+name, "") })
	return name
}

// index makes an index of its own.
func (s server) index(t testing.TB, mappings string) string {
	t.Helper()
	name := s.plain(t)
	s.call(t, http.MethodPut, "/"+name, `{"settings":{"number_of_replicas":0},"mappings":`+mappings+`}`)
	return name
}

// source reads a document.
func (s server) source(t testing.TB, r telemetry.Record) map[string]any {
	t.Helper()
	return s.call(t, http.MethodGet, "/"+string(r.Index)+"/_doc/"+string(r.DocIDText), "")["_source"].(map[string]any)
}

// one sends a single record, and expects an answer to it.
func (s server) one(t testing.TB, r telemetry.Record) sink.Item {
	t.Helper()
	result := s.client.Do(t.Context(), bulkOf(r))
	if result.Class != outcome.Indexed || len(result.Items) > 1 {
		t.Fatalf("%+v", result)
	}
	if len(result.Items) == 0 {
		return sink.Item{Class: outcome.Indexed}
	}
	return result.Items[0]
}

// createsOnce sends records, and some of them again. It returns one.
func (s server) createsOnce(t *testing.T, index string) telemetry.Record {
	t.Helper()
	a, b, c := record(t, index, "a", `{"duration":1}`), record(t, index, "b", `{}`), record(t, index, "c", `{}`)
	if r := s.client.Do(t.Context(), bulkOf(a, b)); r.Class != outcome.Indexed || len(r.Items) != 0 {
		t.Fatalf("first time: %+v", r)
	}
	again := s.client.Do(t.Context(), bulkOf(b, c, a))
	if again.Class != outcome.Indexed || len(again.Items) != 2 {
		t.Fatalf("second time: %+v", again)
	}
	for i, position := range []int{0, 2} {
		item := again.Items[i]
		if item.Position != position || item.Class != outcome.Indexed || !item.Duplicate {
			t.Errorf("item %+v, want a duplicate at %d", item, position)
		}
	}
	return a
}

// TestLogsDBCreatesOnce: the index mode for logs sorts and packs documents otherwise, and ids mean the same in it.
func TestLogsDBCreatesOnce(t *testing.T) {
	t.Parallel()
	s := server{url: localtest.Elasticsearch(t)}
	var err error
	if s.client, err = Open(Settings{URLs: []string{s.url}}); err != nil {
		t.Fatal(err)
	}
	index := s.plain(t)
	s.call(t, http.MethodPut, "/"+index, `{"settings":{"number_of_replicas":0,"index.mode":"logsdb"},"mappings":{"dynamic":false}}`)
	s.createsOnce(t, index)
}

func TestDocumentsAreCreatedOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"dynamic":false}`)
		a := s.createsOnce(t, index)
		document := s.source(t, a)
		for key, want := range map[string]any{
			"id": "a", "tenant": "acme", "region": "eu-west-1", "duration": 1.0, "@timestamp": "2026-11-23T01:02:03Z",
			"received_at": "2026-11-23T01:02:03.000Z", "indexed_at": "2026-11-23T01:02:04.000Z",
		} {
			if document[key] != want {
				t.Errorf("%s is %v, want %v", key, document[key], want)
			}
		}
		if len(document) != 8 { // those, and type
			t.Errorf("the document has other fields too: %v", document)
		}
	})
}

// Each of these comes with status 400, and only some are the document's fault.
func TestPoisonHarmsItselfAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"dynamic":"strict","properties":{"duration":{"type":"long"},"name":{"type":"keyword"},
			"when":{"type":"date"},"flag":{"type":"boolean"},"group":{"properties":{"in":{"type":"keyword"}}},
			"indexed_at":{"type":"date"},"received_at":{"type":"date"},"@timestamp":{"type":"date"},
			"tenant":{"type":"keyword"},"region":{"type":"keyword"},"id":{"type":"keyword"},"type":{"type":"keyword"}}}`)
		poison := []string{
			`{"duration":"not a number"}`,
			`{"duration":1e40}`,
			`{"when":"not a date"}`,
			`{"flag":"perhaps"}`,
			`{"group":"not an object"}`,
			`{"name":{"not":"a string"}}`,
			`{"surprise":1}`,
			`{"name":"` + strings.Repeat("x", 40_000) + `"}`,
			`{"duration":}`,
			`{"":1}`,
		}
		first, last := record(t, index, "first", `{"duration":1}`), record(t, index, "last", `{}`)
		bulk := bulkOf(first)
		for _, body := range poison {
			bulk.Add(record(t, index, body[:min(len(body), 30)], body), now)
		}
		bulk.Add(last, now)
		r := s.client.Do(t.Context(), bulk)
		if r.Class != outcome.Indexed || len(r.Items) != len(poison) {
			t.Fatalf("%+v", r)
		}
		for i, item := range r.Items {
			if item.Position != i+1 || item.Class != outcome.Poison || item.Error.Type == "" || item.Error.Reason == "" || item.Error.Status != 400 {
				t.Errorf("%.40s: %+v, want poison at %d", poison[i], item, i+1)
			}
		}
		s.source(t, first)
		s.source(t, last)
	})
}

func TestAMappingThatIsFullIsPoison(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.plain(t)
		s.call(t, http.MethodPut, "/"+index, `{"settings":{"number_of_replicas":0,"index.mapping.total_fields.limit":14,
			"index.mapping.depth.limit":2},"mappings":{"dynamic":true}}`)
		for _, body := range []string{`{"one":1,"two":2,"three":3,"four":4,"five":5}`, `{"a":{"b":{"c":{"d":1}}}}`} {
			if item := s.one(t, record(t, index, body, body)); item.Class != outcome.Poison {
				t.Errorf("%s: %+v", body, item)
			}
		}
		s.one(t, record(t, index, "plain", `{}`))
		if item := s.one(t, record(t, index, "number", `{"field":{"a":1}}`)); item.Class != outcome.Indexed {
			t.Fatalf("%+v", item)
		}
		if item := s.one(t, record(t, index, "object", `{"field":1}`)); item.Class != outcome.Poison {
			t.Errorf("a field that was an object: %+v", item)
		}
	})
}

func TestAnIndexOutOfServiceIsNobodysPoison(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		existing := func(t *testing.T) string { return s.index(t, `{"dynamic":false}`) }
		for name, c := range map[string]struct {
			index     func(t *testing.T) string
			errorType string
		}{
			"closed": {func(t *testing.T) string {
				index := existing(t)
				s.call(t, http.MethodPost, "/"+index+"/_close", "")
				return index
			}, "index_closed_exception"},
			"read-only": {func(t *testing.T) string {
				index := existing(t)
				s.call(t, http.MethodPut, "/"+index+"/_settings", `{"index.blocks.read_only":true}`)
				t.Cleanup(func() { // or it cannot be deleted
					s.call(t, http.MethodPut, "/"+index+"/_settings", `{"index.blocks.read_only":false}`)
				})
				return index
			}, "cluster_block_exception"},
			"flood stage": {func(t *testing.T) string {
				index := existing(t)
				s.call(t, http.MethodPut, "/"+index+"/_settings", `{"index.blocks.read_only_allow_delete":true}`)
				return index
			}, "cluster_block_exception"},
			"missing, and not made": {func(t *testing.T) string {
				index := s.name(t)
				s.setting(t, "action.auto_create_index", "-"+index+",+*")
				return index
			}, "index_not_found_exception"},
			"shard limit": {func(t *testing.T) string {
				// A node takes 1,000 shards (cluster.max_shards_per_node).
				index := s.name(t)
				s.call(t, http.MethodPut, "/_index_template/"+index, `{"index_patterns":["`+index+`"],"priority":1000,
					"template":{"settings":{"number_of_shards":1001,"number_of_replicas":0}}}`)
				t.Cleanup(func() { s.call(t, http.MethodDelete, "/_index_template/"+index, "") })
				return index
			}, "validation_exception"},
			"no such pipeline": {func(t *testing.T) string {
				index := existing(t)
				s.call(t, http.MethodPut, "/"+index+"/_settings", `{"index.default_pipeline":"nowhere"}`)
				return index
			}, "illegal_argument_exception"},
			"an alias of two": {func(t *testing.T) string {
				alias, a, b := telemetry.IndexPrefix+localtest.Name(t, "alias"), existing(t), existing(t)
				s.call(t, http.MethodPost, "/_aliases", `{"actions":[{"add":{"indices":["`+a+`","`+b+`"],"alias":"`+alias+`"}}]}`)
				return alias
			}, "illegal_argument_exception"},
		} {
			t.Run(name, func(t *testing.T) {
				item := s.one(t, record(t, c.index(t), "a", `{}`))
				if item.Class != outcome.Transient || item.Error.Type != c.errorType {
					t.Errorf("%+v, want transient by %s", item, c.errorType)
				}
				if overload(item.Error) {
					t.Errorf("%+v slows down everybody", item)
				}
			})
		}
	})
}

// setting changes a setting of the cluster for the duration of the test.
func (s server) setting(t testing.TB, key, value string) {
	t.Helper()
	s.call(t, http.MethodPut, "/_cluster/settings", `{"persistent":{"`+key+`":"`+value+`"}}`)
	t.Cleanup(func() { s.call(t, http.MethodPut, "/_cluster/settings", `{"persistent":{"`+key+`":null}}`) })
}

// The whole body is refused before it is read, so the answer comes early.
func TestABodyThatTheServerDoesNotTakeIsTooLarge(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"dynamic":false}`)
		large, all := record(t, index, "a", `{"padding":"`+strings.Repeat("x", 1_000_000)+`"}`), &sink.Bulk{}
		for all.Size() <= 100<<20 { // http.max_content_length
			all.Add(large, now)
		}
		r := s.client.Do(t.Context(), all)
		// A server that closes the connection at once can beat its own answer.
		if r.Class != outcome.TooLarge && (r.Class != outcome.Transient || r.TimedOut) {
			t.Errorf("%s: %+v", r.Class, r.Error)
		}
		clear(all.Body()) // it is ours again: the race detector watches
		if item := s.one(t, record(t, index, "b", `{}`)); item.Class != outcome.Indexed {
			t.Errorf("afterwards: %+v", item)
		}
	})
}

func TestABodyThatTheServerCannotReadIsRefused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"dynamic":false}`)
		b := bulkOf(record(t, index, "a", `{}`), record(t, index, "b", `{}`))
		copy(b.Body(), `{"crate":`)
		if r := s.client.Do(t.Context(), b); r.Class != outcome.Refused || r.Error.Type == "" || r.Feedback().Verdict != limiter.Neutral {
			t.Errorf("%s: %+v", r.Class, r)
		}
	})
}

// What nearly always comes must look as scanItems expects it.
func TestTheCommonAnswerIsNotParsed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"dynamic":false}`)
		bulk := bulkOf(record(t, index, "a", `{}`), record(t, index, "b", `{}`))
		for _, want := range []int{0, 2} { // all created, then all there
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, bulkPath, strings.NewReader(string(bulk.Body())))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/x-ndjson")
			response, err := s.client.transport.Perform(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if items, ok := scanItems(body, 2); !ok || len(items) != want {
				t.Errorf("%d items, %v, of %s", len(items), ok, body)
			}
			if _, list, _ := strings.Cut(string(body), "["); want > 0 && existsLength([]byte(list)) == 0 {
				t.Errorf("a duplicate is parsed: %s", body)
			}
			for _, n := range []int{0, 1, 3} {
				if _, ok := scanItems(body, n); ok {
					t.Errorf("taken for an answer to %d documents: %s", n, body)
				}
			}
		}
	})
}
