package index

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/internal/telemetry"
)

var now = time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

// record makes the stream record of a body in an index.
func record(t testing.TB, index, id, body string) telemetry.Record {
	t.Helper()
	r, err := telemetry.Parse(telemetry.AppendRecord(nil, telemetry.Head{
		Index: index, ReceivedAt: now, Tenant: "acme", Region: "eu-west-1", ID: id, Type: "span", Timestamp: now,
	}, []byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func bulkOf(records ...telemetry.Record) *Bulk {
	b := &Bulk{}
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
	for name, url := range map[string]func(testing.TB) string{
		"elasticsearch": localtest.Elasticsearch, "opensearch": localtest.OpenSearch,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := server{url: url(t)}
			var err error
			if s.client, err = Open(Settings{URLs: []string{s.url}, OpenSearch: name == "opensearch"}); err != nil {
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
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
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

// index makes an index that goes with the test.
func (s server) index(t testing.TB, mappings string) string {
	t.Helper()
	name := telemetry.IndexPrefix + localtest.Name(t, "index")
	s.call(t, http.MethodPut, "/"+name, `{"settings":{"number_of_replicas":0},"mappings":`+mappings+`}`)
	t.Cleanup(func() { s.call(t, http.MethodDelete, "/"+name, "") })
	return name
}

func TestDocumentsAreCreatedOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"dynamic":false}`)
		a, b, c := record(t, index, "a", `{"duration":1}`), record(t, index, "b", `{}`), record(t, index, "c", `{}`)
		if r := s.client.Do(t.Context(), bulkOf(a, b)); r.Class != Indexed || len(r.Items) != 0 {
			t.Fatalf("first time: %+v", r)
		}
		again := s.client.Do(t.Context(), bulkOf(b, c, a))
		if again.Class != Indexed || len(again.Items) != 2 {
			t.Fatalf("second time: %+v", again)
		}
		for i, position := range []int{0, 2} {
			item := again.Items[i]
			if item.Position != position || item.Class != Indexed || !item.Duplicate {
				t.Errorf("item %+v, want a duplicate at %d", item, position)
			}
		}
		document := s.call(t, http.MethodGet, "/"+index+"/_doc/"+string(a.DocIDText), "")["_source"].(map[string]any)
		for key, want := range map[string]any{
			"id": "a", "tenant": "acme", "duration": 1.0, "received_at": "2026-11-23T01:02:03.000Z", "indexed_at": "2026-11-23T01:02:04.000Z",
		} {
			if document[key] != want {
				t.Errorf("%s is %v, want %v", key, document[key], want)
			}
		}
	})
}

func TestPoisonHarmsItselfAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"dynamic":"strict","properties":{"duration":{"type":"long"},"name":{"type":"keyword"},
			"indexed_at":{"type":"date"},"received_at":{"type":"date"},"@timestamp":{"type":"date"},
			"tenant":{"type":"keyword"},"region":{"type":"keyword"},"id":{"type":"keyword"},"type":{"type":"keyword"}}}`)
		good := record(t, index, "good", `{"duration":1}`)
		r := s.client.Do(t.Context(), bulkOf(
			record(t, index, "wrong type", `{"duration":"not a number"}`),
			good,
			record(t, index, "unknown field", `{"surprise":1}`),
			record(t, index, "immense term", `{"name":"`+strings.Repeat("x", 40_000)+`"}`),
			record(t, index, "not JSON", `{"duration":}`),
		))
		if r.Class != Indexed || len(r.Items) != 4 {
			t.Fatalf("%+v", r)
		}
		for i, position := range []int{0, 2, 3, 4} {
			if item := r.Items[i]; item.Position != position || item.Class != Poison || item.Error.Reason == "" {
				t.Errorf("item %+v, want poison at %d", item, position)
			}
		}
		s.call(t, http.MethodGet, "/"+index+"/_doc/"+string(good.DocIDText), "")
	})
}

func TestAnIndexOutOfServiceIsNobodysPoison(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		for name, c := range map[string]struct{ put, path, body string }{
			"closed":      {http.MethodPost, "/_close", ""},
			"read-only":   {http.MethodPut, "/_settings", `{"index.blocks.read_only":true}`},
			"flood stage": {http.MethodPut, "/_settings", `{"index.blocks.read_only_allow_delete":true}`},
		} {
			index := s.index(t, `{"dynamic":false}`)
			s.call(t, c.put, "/"+index+c.path, c.body)
			r := s.client.Do(t.Context(), bulkOf(record(t, index, name, `{}`)))
			if r.Class != Indexed || len(r.Items) != 1 || r.Items[0].Class != Transient {
				t.Errorf("%s: %+v, want one transient item", name, r)
			}
			if name == "read-only" { // or it cannot be deleted
				s.call(t, http.MethodPut, "/"+index+"/_settings", `{"index.blocks.read_only":false}`)
			}
		}
	})
}

func TestABulkIsPutTogetherFromAnother(t *testing.T) {
	t.Parallel()
	index := "telemetry-span-undated"
	a, b, c := record(t, index, "a", `{"n":1}`), record(t, index, "b", `{"n":2}`), record(t, index, "c", `{"n":3}`)
	all, part := bulkOf(a, b, c), &Bulk{}
	part.AddFrom(all, 0)
	part.AddFrom(all, 2)
	if want := bulkOf(a, c); !bytes.Equal(part.body, want.body) || part.Len() != 2 || part.Size() != want.Size() {
		t.Errorf("got %s, want %s", part.body, want.body)
	}
	all.Reset()
	if all.Len() != 0 || all.Size() != 0 {
		t.Error("not empty after Reset")
	}
}

// answering makes a client of a server that gives one answer to everything.
func answering(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(io.Discard, r.Body)
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	c, err := Open(Settings{URLs: []string{s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestARequestThatFailsAsAWhole(t *testing.T) {
	t.Parallel()
	bulk := bulkOf(record(t, "telemetry-span-undated", "a", `{}`), record(t, "telemetry-span-undated", "b", `{}`))
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		class   Class
		reason  string
	}{
		"429":             {status(429, `{"error":{"type":"es_rejected_execution_exception","reason":"full"},"status":429}`), Transient, "full"},
		"503 of a proxy":  {status(503, `<html>away</html>`), Transient, "away"},
		"401":             {status(401, `{}`), Transient, ""},
		"413":             {status(413, ``), TooLarge, ""},
		"400":             {status(400, `{"error":{"type":"parse_exception","reason":"malformed"},"status":400}`), Refused, "malformed"},
		"truncated":       {status(200, `{"errors":false,"items":[{"create":{"status":201}},{"cre`), Transient, "parse"},
		"an item missing": {status(200, `{"errors":false,"items":[{"create":{"status":201}}]}`), Transient, "1 items for 2"},
		"one too many":    {status(200, `{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}},{"create":{"status":201}}]}`), Transient, "3 items for 2"},
		"reset":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, Transient, "EOF"},
	} {
		r := answering(t, c.handler).Do(t.Context(), bulk)
		if r.Class != c.class || len(r.Items) != 0 || !strings.Contains(r.Error.Reason, c.reason) || r.TimedOut {
			t.Errorf("%s: %+v, want class %s and a reason with %q", name, r, c.class, c.reason)
		}
	}
}

func TestATimeoutIsToldApart(t *testing.T) {
	t.Parallel()
	c := answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c.timeout = 50 * time.Millisecond
	if r := c.Do(t.Context(), bulkOf(record(t, "telemetry-span-undated", "a", `{}`))); r.Class != Transient || !r.TimedOut {
		t.Errorf("%+v", r)
	}
}

func TestOutcomeTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		item      string
		class     Class
		duplicate bool
	}{
		{`{"status":200}`, Indexed, false},
		{`{"status":201,"failure_store":"not_enabled"}`, Indexed, false},
		{`{"status":201,"failure_store":"used"}`, Poison, false},
		{`{"status":409,"error":{"type":"version_conflict_engine_exception"}}`, Indexed, true},
		{`{"status":400,"error":{"type":"document_parsing_exception"}}`, Poison, false},
		{`{"status":400,"error":{"type":"illegal_argument_exception","reason":"Limit of total fields [1000] has been exceeded"}}`, Poison, false},
		{`{"status":400,"error":{"type":"illegal_argument_exception","reason":"pipeline with id [x] does not exist"}}`, Transient, false},
		{`{"status":400,"error":{"type":"illegal_argument_exception","reason":"something else"}}`, Undecided, false},
		{`{"status":400,"error":{"type":"validation_exception","reason":"this action would add [2] shards"}}`, Transient, false},
		{`{"status":404,"error":{"type":"index_not_found_exception"}}`, Transient, false},
		{`{"status":429,"error":{"type":"es_rejected_execution_exception"}}`, Transient, false},
		{`{"status":503,"error":{"type":"never_heard_of"}}`, Transient, false},
		{`{"status":403,"error":{"type":"never_heard_of"}}`, Transient, false},
		{`{"status":400,"error":{"type":"never_heard_of"}}`, Undecided, false},
		{`{"status":404}`, Undecided, false},
	} {
		items, err := readItems(fmt.Appendf(nil, `{"errors":true,"items":[{"create":%s}]}`, c.item), 1)
		if err != nil {
			t.Fatal(err)
		}
		got := Item{Class: Indexed}
		if len(items) == 1 {
			got = items[0]
		}
		if got.Class != c.class || got.Duplicate != c.duplicate {
			t.Errorf("%s: %s, duplicate %v; want %s, %v", c.item, got.Class, got.Duplicate, c.class, c.duplicate)
		}
	}
}

// The response that nearly always comes must look as allCreated expects it.
func TestRealServersAnswerAsCompared(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"dynamic":false}`)
		bulk := bulkOf(record(t, index, "a", `{}`), record(t, index, "b", `{}`))
		response, err := s.client.client.Bulk(bytes.NewReader(bulk.body), s.client.client.Bulk.WithFilterPath(bulkFilter...))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if !allCreated(body, 2) || allCreated(body, 1) || allCreated(body, 3) {
			t.Errorf("the fast path does not fit: %s", body)
		}
	})
}

func BenchmarkParseAndAdd(b *testing.B) {
	data := telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-span-2026.11.23", ReceivedAt: now, Tenant: "acme", Region: "eu-west-1", ID: "1", Type: "span", Timestamp: now,
	}, []byte(`{"name":"`+strings.Repeat("x", 230)+`"}`))
	bulk := &Bulk{}
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r, err := telemetry.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		if bulk.Add(r, now); bulk.Len() == 1000 {
			bulk.Reset()
		}
	}
}
