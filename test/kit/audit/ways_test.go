package audit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"millrace/internal/pack"
)

// TestDelaysByWay: a record that was received twice, of which one went through
// the queue, counts by the one that its document is made of.
func TestDelaysByWay(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	record := func(id string, received, delay time.Duration) []byte {
		members := map[string]any{"id": id, "type": "log", "tenant": "t", "received_at": begin.Add(received)}
		if delay > 0 {
			members["indexed_at"] = begin.Add(received + delay)
		}
		text, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	documents := [][]byte{
		record("cold", 999*time.Millisecond, 9*time.Second), // queued, too
		record("warm", time.Second, 100*time.Millisecond),
		record("queued", 2*time.Second, 3*time.Second),
		record("twice", 2*time.Second, 200*time.Millisecond),
	}
	pages := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "_search") || r.Method == http.MethodDelete {
			fmt.Fprint(w, `{}`)
			return
		}
		var hits []map[string]any
		if pages++; pages == 1 {
			for _, d := range documents {
				hits = append(hits, map[string]any{"_index": "i", "_source": json.RawMessage(d)})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"_scroll_id": "s", "hits": map[string]any{"hits": hits}})
	}))
	t.Cleanup(server.Close)

	var queued Queued
	for _, records := range [][][]byte{
		{record("cold", 999*time.Millisecond, 0), record("queued", 2*time.Second, 0)},
		{record("twice", 3*time.Second, 0)},
	} {
		message, err := json.Marshal(map[string]any{"millrace": 1, "records": len(records), "pack": pack.Pack(records)})
		if err != nil {
			t.Fatal(err)
		}
		if err := queued.Take(string(message)); err != nil {
			t.Fatal(err)
		}
	}
	delays, err := queued.ByWay(t.Context(), Stores{Elasticsearch: server.URL}, begin.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{
		"direct":  fmt.Sprint(delays.Direct.Count(), delays.Direct.Average(), delays.Direct.Max()),
		"queued":  fmt.Sprint(delays.Queued.Count(), delays.Queued.Average(), delays.Queued.Max()),
		"warming": fmt.Sprint(delays.WarmingUp.Count(), delays.WarmingUp.Average(), delays.WarmingUp.Max()),
	} {
		want := map[string]string{"direct": "2 150ms 200ms", "queued": "1 3s 3s", "warming": "1 9s 9s"}[name]
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestAMessageThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	for _, message := range []string{`no JSON`, `{"millrace":1,"records":1,"overflow":"2026/01/02/x"}`, `{"pack":"AAAA"}`} {
		if err := new(Queued).Take(message); err == nil {
			t.Errorf("%s is no error", message)
		}
	}
}
