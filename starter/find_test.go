package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"millrace/deploy/local/localtest"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
	"millrace/starter/find"
	"millrace/test/kit/cluster"
	"millrace/workflows"
)

// shelf is a real index and a real ledger, and an operator who looks into both.
type shelf struct {
	operator
	*cluster.Real
	ledger   *ledger.Ledger
	temporal client.Client
	tenant   string
}

func newShelf(t *testing.T) shelf {
	t.Helper()
	real := cluster.New(t)
	temporal := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	s := shelf{
		operator: newOperator(t, append(localAWS(t), "MILLRACE_STREAM="+real.Kind, "MILLRACE_BUCKET="+real.Kind, "MILLRACE_ELASTICSEARCH_URL="+localtest.Elasticsearch(t),
			"TEMPORAL_ADDRESS="+temporal.HostPort, "TEMPORAL_NAMESPACE="+temporal.Namespace, "MILLRACE_ANSWER_WITHIN=1m")...),
		Real: real, ledger: ledger.New(real.Objects, real.Kind), tenant: real.Kind,
		temporal: localtest.TemporalClient(t, temporal),
	}
	if _, _, err := s.ledger.BeginIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// data is the stream record of an id.
func (s shelf) data(id string) []byte {
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: s.Index("2026.11.23"), ReceivedAt: at, Tenant: s.tenant, Region: "eu-west-1", ID: id, Type: "span", Timestamp: at,
	}, []byte(`{"trace_id":"trace-1"}`))
}

func (s shelf) index(ids ...string) {
	s.t.Helper()
	b := &sink.Bulk{}
	for _, id := range ids {
		r, err := telemetry.Parse(s.data(id))
		if err != nil {
			s.t.Fatal(err)
		}
		b.Add(r, time.Date(2026, 11, 23, 1, 2, 4, 0, time.UTC))
	}
	if result := s.Client.Do(s.Context(), b); result.Class != outcome.Indexed || len(result.Items) > 0 {
		s.t.Fatalf("%+v", result)
	}
	if err := s.Client.Refresh(s.Context(), s.Patterns...); err != nil {
		s.t.Fatal(err)
	}
}

func (s shelf) giveUp(sequence int, id, reason string) (key string) {
	s.t.Helper()
	r := ledger.NewRecord(s.data(id), outcome.Error{Type: "document_parsing_exception", Reason: reason})
	r.Sequence = fmt.Sprint(sequence)
	key, err := s.ledger.Add(s.Context(), ledger.Entry{
		Kind: ledger.Bulk, At: time.Date(2026, 11, 23, 1, 2, 5, 0, time.UTC), Records: []ledger.Record{r},
		Range: telemetry.Range{StreamARN: "arn:aws:kinesis:eu-west-1:0:stream/" + s.Kind, Shard: "shardId-000000000001", First: r.Sequence, Last: r.Sequence, Count: 1},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

// find looks for something that must end with this status.
func (s shelf) find(status int, args ...string) string {
	s.t.Helper()
	var r result
	await(s.t, "a search while no other test makes or closes an index", func() bool {
		r = s.run(append([]string{"find", "--tenant", s.tenant}, args...)...)
		return !strings.Contains(r.out, "out of service") && !strings.Contains(r.out, "all shards failed") && !strings.Contains(r.out, "closed indices")
	})
	if r.status != status {
		s.t.Fatalf("starter find %q ended with %d, want %d: %s%s", args, r.status, status, r.out, r.err)
	}
	return r.out
}

func (s shelf) answer(status int, args ...string) (a find.Answer) {
	s.t.Helper()
	if text := s.find(status, append(args, "--json")...); json.Unmarshal([]byte(text), &a) != nil {
		s.t.Fatalf("starter find %q does not print JSON:\n%s", args, text)
	}
	return a
}

func TestFindSaysWhereARecordIs(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.index("one", "both")
	key := s.giveUp(10, "dead", "it is so")
	s.giveUp(20, "both", "it was so")

	contains(t, "find one", s.find(0, "one"), "index    found", s.Index("2026.11.23"), "2026-11-23T01:02:03Z in eu-west-1", "2026-11-23T01:02:04Z", "ledger   absent")
	contains(t, "find dead", s.find(0, "dead"), "index    absent", "ledger   found", key, "document_parsing_exception: it is so", "shardId-000000000001 10", "open")
	contains(t, "find nowhere", s.find(exitNotFound, "nowhere"), "index    absent", "ledger   absent", "not found")

	doc := telemetry.NewDocID(s.tenant, s.Index("2026.11.23"), "dead").String()
	if a := s.answer(0, "--doc="+doc); a.Ledger.State != find.Found || a.Ledger.Found[0].Key != key || a.Index.State != find.Absent {
		t.Errorf("of a document id it says %+v", a)
	}
	if a := s.answer(0, "both"); a.Ledger.State != find.Found || a.Index.State != find.Found || a.Index.Found[0].Region != "eu-west-1" {
		t.Errorf("of one in both it says %+v", a)
	}
	if a := s.answer(0, "--trace", "trace-1", "--most", "1"); len(a.Index.Found) != 1 || !a.Index.More || a.Ledger.State != find.NotSearched {
		t.Errorf("of a trace it says %+v", a)
	}
	contains(t, "find --trace", s.find(0, "--trace", "trace-1", "--most", "1"), "--most lists more than these 1", "not searched: the ledger knows records by tenant and id")

	if err := s.ledger.Resolve(t.Context(), key, ledger.Resolution{How: "indexed", By: "ada", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	contains(t, "find dead", s.find(0, "dead"), "indexed by ada")
}

// TestFindPrintsNothingOfATenantRaw: ids and errors may be of any bytes.
func TestFindPrintsNothingOfATenantRaw(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	id := "a\x1b[2J\u202e\n\x0b\x0cb"
	s.index(id)
	s.giveUp(10, id, "it\x1b]0;x\x07is\nso")
	for _, form := range [][]string{{id}, {id, "--json"}} {
		text := s.find(0, form...)
		if strings.ContainsAny(text, "\x1b\x07\x0b\x0c\u202e") {
			t.Errorf("it prints %q", text)
		}
		if !strings.Contains(text, `\u001b`) {
			t.Errorf("it does not escape: %q", text)
		}
	}
	if a := s.answer(0, id); a.Index.Found[0].ID != id || a.Ledger.Found[0].ID != id {
		t.Errorf("in JSON it is %+v", a)
	}
}

func TestFindRefusesWhatNoRecordCanHave(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for args, want := range map[string]string{
		"find --tenant a":                     "give one of ID, --trace and --doc, or --request",
		"find --tenant a b --trace c":         "give one of ID, --trace and --doc, or --request",
		"find a":                              "--tenant",
		"find --request x":                    "--request: it is no id from the header X-Request-Id",
		"find --doc short":                    "--doc: document id is not 27 characters",
		"find --tenant a b --most 0":          "--most: 0 is not from 1 to 1000",
		"find --tenant a b --most 1001":       "--most: 1001 is not from 1 to 1000",
		"find --rebuild-index a":              "--rebuild-index searches nothing",
		"find --tenant a " + longText:         "ID: it has more than 1024 characters",
		"find --tenant a --trace " + longText: "--trace: it has more than 1024 characters",
	} {
		o.fails(args, want)
	}
}

var longText = strings.Repeat("x", 1025)

// TestFindSaysWhatItCouldNotSearch, with a status of its own where that is all.
func TestFindSaysWhatItCouldNotSearch(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.giveUp(10, "dead", "it is so")
	away := s
	away.env = append(append([]string{}, s.env...), "MILLRACE_ELASTICSEARCH_URL=http://127.0.0.1:1")
	if a := away.answer(0, "dead"); a.Index.State != find.Failed || a.Ledger.State != find.Found {
		t.Errorf("without Elasticsearch it says %+v", a)
	}
	if a := away.answer(1, "nowhere"); a.Index.State != find.Failed || a.Found {
		t.Errorf("without Elasticsearch it says %+v", a)
	}
	files := s
	files.env = append(append([]string{}, s.env...), "MILLRACE_SINK=file")
	if a := files.answer(exitNotFound, "nowhere"); a.Index.State != find.NotSearched || a.Found {
		t.Errorf("with another sink it says %+v", a)
	}
	for key, err := range s.Objects.Keys(t.Context(), "ledger-index/") {
		if err == nil {
			err = s.Objects.Delete(t.Context(), key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if a := s.answer(exitNotFound, "dead"); a.Ledger.State != find.Incomplete || len(a.Ledger.Gaps) != 1 {
		t.Errorf("without an index of the ledger it says %+v", a)
	}
	contains(t, "find dead", s.find(exitNotFound, "dead"), "ledger   incomplete", "not searched: entries from before there was an index of the ledger")
	s.must("find --rebuild-index", "rebuilt the index of the ledger from 1 entries")
	if a := s.answer(0, "dead"); a.Ledger.State != find.Found {
		t.Errorf("with an index that was rebuilt it says %+v", a)
	}
}
