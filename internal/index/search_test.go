package index

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// post indexes a record of a tenant, received so many seconds after now.
func (s server) post(t *testing.T, index, tenant, id, body string, second int) sink.Reference {
	t.Helper()
	r, err := telemetry.Parse(telemetry.AppendRecord(nil, telemetry.Head{
		Index: index, ReceivedAt: now.Add(time.Duration(second) * time.Second), Tenant: tenant, Region: "eu-west-1", ID: id, Type: "span", Timestamp: now,
	}, []byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	s.one(t, r)
	return referenceTo(r)
}

func TestSearchFindsRecordsTracesAndDocuments(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		s.ready(t)
		index, mine, other := s.name(t), localtest.Name(t, "mine"), localtest.Name(t, "other")
		odd := "a \"*\" ?\u202e/\x01" + strings.Repeat("ü", 900)
		first := s.post(t, index, mine, odd, `{"trace_id":"t1"}`, 1)
		s.post(t, index, mine, "b", `{"traceId":"t1"}`, 2)
		s.post(t, index, mine, "c", `{"trace_id":"t2"}`, 3)
		s.post(t, index, other, odd, `{"trace_id":"t1"}`, 4)

		all, err := s.client.Documents(t.Context(), []sink.Reference{first, {Index: index, ID: "absent"}, {Index: s.name(t), ID: first.ID}})
		want := Document{
			Index: index, DocID: first.ID, Tenant: mine, ID: odd, Type: "span", Region: "eu-west-1",
			ReceivedAt: now.Add(time.Second), IndexedAt: now.Add(time.Second),
		}
		if err != nil || !slices.Equal(all, []Document{want}) {
			t.Errorf("before a refresh it is %+v, want %+v: %v", all, want, err)
		}
		s.call(t, http.MethodPost, "/"+index+"/_refresh", "")
		for _, c := range []struct {
			wanted Wanted
			most   int
			ids    []string
			more   bool
		}{
			{Wanted{Tenant: mine, ID: odd}, 10, []string{odd}, false},
			{Wanted{Tenant: mine, ID: "a"}, 10, nil, false},
			{Wanted{Tenant: mine, ID: "*"}, 10, nil, false},
			{Wanted{Tenant: other, ID: "b"}, 10, nil, false},
			{Wanted{Tenant: mine, TraceID: "t1"}, 10, []string{"b", odd}, false}, // the last one first
			{Wanted{Tenant: mine, TraceID: "t1"}, 1, []string{"b"}, true},
			{Wanted{Tenant: mine, TraceID: "t1"}, 2, []string{"b", odd}, false},
			{Wanted{DocID: first.ID}, 10, []string{odd}, false},
			{Wanted{DocID: first.ID, Tenant: other}, 10, nil, false},
		} {
			got, err := s.client.Search(t.Context(), c.wanted, c.most)
			var ids []string
			for _, d := range got.Documents {
				ids = append(ids, d.ID)
			}
			if err != nil || !slices.Equal(ids, c.ids) || got.More != c.more {
				t.Errorf("%+v: %q, more %t, %v", c.wanted, ids, got.More, err)
			}
		}
	})
}

// TestSearchSaysWhatItPassesOver, and leaves out what is no telemetry index.
func TestSearchSaysWhatItPassesOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		s.ready(t)
		index, tenant := s.name(t), localtest.Name(t, "tenant")
		s.post(t, index, tenant, "a", `{}`, 1)
		drill := index + "-drill"
		t.Cleanup(func() { s.call(t, http.MethodDelete, "/"+drill+"?ignore_unavailable=true", "") })
		s.post(t, drill, tenant, "a", `{}`, 2)
		s.call(t, http.MethodPost, "/"+index+","+drill+"/_refresh", "")
		got, err := s.client.Search(t.Context(), Wanted{Tenant: tenant, ID: "a"}, 10)
		if err != nil || len(got.Documents) != 1 || got.Documents[0].Index != index {
			t.Errorf("beside a drill it finds %+v, %v", got.Documents, err)
		}
		s.call(t, http.MethodPost, "/"+index+"/_close", "")
		got, err = s.client.Search(t.Context(), Wanted{Tenant: tenant, ID: "a"}, 10)
		if err != nil || len(got.Documents) > 0 || !slices.ContainsFunc(got.Gaps, func(gap string) bool { return strings.HasPrefix(gap, "closed indices: ") }) {
			t.Errorf("with a closed index it answers %+v, %v", got, err)
		}
	})
	states := map[string]State{}
	for n := range 5 {
		states[fmt.Sprintf("telemetry-log-2026.11.2%d", n)] = State{Closed: n > 0}
	}
	if got := closed(states); len(got) != 1 || got[0] != "closed indices: telemetry-log-2026.11.21, telemetry-log-2026.11.22, telemetry-log-2026.11.23 and 1 more" {
		t.Errorf("the gaps are %q", got)
	}
}
