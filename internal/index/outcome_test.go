package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"millrace/internal/outcome"
	"millrace/internal/sink"
)

func TestOutcomeTable(t *testing.T) {
	t.Parallel()
	type row struct {
		item      string
		class     outcome.Class
		duplicate bool
	}
	rows := []row{
		{`{"status":200}`, outcome.Indexed, false},
		{`{"status":201}`, outcome.Indexed, false},
		{`{"status":201,"failure_store":"not_enabled"}`, outcome.Indexed, false},
		{`{"status":201,"failure_store":"used"}`, outcome.Poison, false},
		{`{"status":409,"error":{"type":"version_conflict_engine_exception"}}`, outcome.Indexed, true},
		{`{"status":404}`, outcome.Undecided, false},
		// By status, where the type is unknown.
		{`{"status":429,"error":{"type":"never_heard_of"}}`, outcome.Transient, false},
		{`{"status":503,"error":{"type":"never_heard_of"}}`, outcome.Transient, false},
		{`{"status":401,"error":{"type":"never_heard_of"}}`, outcome.Transient, false},
		{`{"status":403,"error":{"type":"never_heard_of"}}`, outcome.Transient, false},
		{`{"status":400,"error":{"type":"never_heard_of"}}`, outcome.Undecided, false},
		{`{"status":500,"error":{"type":"null_pointer_exception"}}`, outcome.Undecided, false},
		{`{"status":409,"error":{"type":"never_heard_of"}}`, outcome.Undecided, false},
		// By reason, where the type says nothing.
		{illegal("Document contains at least one immense term in field=\\\"name\\\""), outcome.Poison, false},
		{illegal("Limit of total fields [1000] has been exceeded"), outcome.Poison, false},
		{illegal("Limit of mapping depth [20] has been exceeded"), outcome.Poison, false},
		{illegal("mapper [a] cannot be changed from type [long] to [text]"), outcome.Poison, false},
		{illegal("can't merge a non object mapping [a] with an object mapping"), outcome.Poison, false},
		{illegal("pipeline with id [x] does not exist"), outcome.Transient, false},
		{illegal("no write index is defined for alias [a]"), outcome.Transient, false},
		{illegal("something else"), outcome.Undecided, false},
	}
	for errorType, class := range outcomes { // whatever their status
		for _, status := range []int{400, 404, 429, 500} {
			rows = append(rows, row{fmt.Sprintf(`{"status":%d,"error":{"type":%q}}`, status, errorType), class, false})
		}
	}
	for _, c := range rows {
		for name, read := range map[string]func([]byte, int) ([]sink.Item, error){"read": readItems, "decode": decodeItems} {
			items, err := read(fmt.Appendf(nil, `{"errors":true,"items":[{"create":%s}]}`, c.item), 1)
			if err != nil {
				t.Fatal(err)
			}
			got := sink.Item{Class: outcome.Indexed}
			if len(items) == 1 {
				got = items[0]
			}
			if got.Class != c.class || got.Duplicate != c.duplicate {
				t.Errorf("%s %s: %s, duplicate %v; want %s, %v", name, c.item, got.Class, got.Duplicate, c.class, c.duplicate)
			}
			if got.Class == outcome.Poison && got.Error.Type == "" {
				t.Errorf("%s: poison without an error", c.item)
			}
		}
	}
}

func illegal(reason string) string {
	return `{"status":400,"error":{"type":"illegal_argument_exception","reason":"` + reason + `"}}`
}

func TestOnlyOverloadSlowsDownEverybody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		e    outcome.Error
		want bool
	}{
		{outcome.Error{Type: "es_rejected_execution_exception", Status: 429}, true},
		{outcome.Error{Type: "circuit_breaking_exception", Status: 429}, true},
		{outcome.Error{Type: "unavailable_shards_exception", Status: 503}, true},
		{outcome.Error{Type: noAnswer}, true},
		{outcome.Error{Type: canceled}, false},
		{outcome.Error{Type: "cluster_block_exception", Status: 429}, false},
		{outcome.Error{Type: "cluster_block_exception", Status: 403}, false},
		{outcome.Error{Type: "index_closed_exception", Status: 400}, false},
		{outcome.Error{Type: "security_exception", Status: 401}, false},
	} {
		if got := overload(c.e); got != c.want {
			t.Errorf("%+v: %v", c.e, got)
		}
	}
}

func TestALogNeverSeesTheDocument(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("refused", "error",
		outcome.Error{Type: "document_parsing_exception", Reason: "Preview of field's value: 'secret'", Status: 400})
	if text := log.String(); strings.Contains(text, "secret") || !strings.Contains(text, "document_parsing_exception") {
		t.Error(text)
	}
}

// A response with one document in each of the given answers.
func response(items ...string) []byte {
	failed := false
	for i, item := range items {
		failed = failed || !strings.HasPrefix(item, `{"status":201`)
		items[i] = `{"create":` + item + `}`
	}
	return fmt.Appendf(nil, `{"errors":%v,"items":[%s]}`, failed, strings.Join(items, ","))
}

// Whatever a server says, the fast way may not say more than the slow one.
func FuzzScanAgreesWithDecode(f *testing.F) {
	f.Add(response(`{"status":201}`, `{"status":201}`), 2)
	f.Add(response(`{"status":201}`, `{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"a \"}\" b"}}`), 2)
	f.Add(response(`{"status":400,"error":{"type":"document_parsing_exception","reason":"x","caused_by":{"type":"y","reason":"z"}}}`), 1)
	f.Add(response(`{"status":201,"failure_store":"used"}`), 1)
	f.Add([]byte(`{"errors":true,"items":[{"create":{"status":201}},{"cre`), 2)
	f.Add([]byte(`{"errors":false,"items":[]}`), 0)
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		if n < 0 || n > len(body) {
			return
		}
		scanned, ok := scanItems(body, n)
		if !ok {
			return
		}
		decoded, err := decodeItems(body, n)
		if err != nil {
			t.Fatalf("scanned what cannot be decoded: %v: %s", err, body)
		}
		a, _ := json.Marshal(scanned)
		b, _ := json.Marshal(decoded)
		if !bytes.Equal(a, b) {
			t.Fatalf("scanned %s, decoded %s", a, b)
		}
	})
}

// The answer to one bulk of 2,000; an operation is one of its documents.
func BenchmarkReadItems(b *testing.B) {
	const documents = 2000
	for name, share := range map[string]int{"all created": 0, "3 in 10 duplicates": 3} {
		items := make([]string, documents)
		for i := range items {
			items[i] = `{"status":201}`
			if i%10 < share {
				items[i] = `{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"[q83vEjRWeJCrze8SNFZ4kKvN7xI]: version conflict, document already exists (current version [1])"}}`
			}
		}
		body := response(items...)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; n < b.N; n += documents {
				if items, err := readItems(body, documents); err != nil || len(items) != share*documents/10 {
					b.Fatal(len(items), err)
				}
			}
		})
	}
}
