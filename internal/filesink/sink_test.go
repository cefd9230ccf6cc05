package filesink

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

var now = time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC)

const (
	spans = "telemetry-span-2026.11.29"
	logs  = "telemetry-log-2026.11.29"
)

// bulk makes a bulk of documents for an index, with these ids of their own.
func bulk(index string, ids ...string) *sink.Bulk {
	b := &sink.Bulk{}
	for _, id := range ids {
		add(b, index, id, `{"name":"x"}`)
	}
	return b
}

// add adds a record without the checks of telemetry.Parse.
func add(b *sink.Bulk, index, id, body string) {
	head := telemetry.Head{Index: index, ReceivedAt: now, Tenant: "acme", Region: "eu-west-1", ID: id, Type: "span", Timestamp: now}
	record := telemetry.AppendRecord(nil, head, []byte(body))
	_, document, _ := bytes.Cut(record, []byte(`","index":"`+index+`",`))
	b.Add(telemetry.Record{Index: []byte(index), DocIDText: []byte(head.DocID().String()), Document: document}, now)
}

func open(t *testing.T, dir string, settings Settings) *Sink {
	t.Helper()
	s, err := Open(dir, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// line is one as a reader takes it.
type line struct {
	Index  string         `json:"_index"`
	ID     string         `json:"_id"`
	Source map[string]any `json:"_source"`
}

// read reads all files, joined, as a reader with jq does; what is no JSON is torn.
func read(t *testing.T, dir string) (lines []line, torn int) {
	t.Helper()
	var joined []byte
	for _, name := range files(t, dir) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, text...)
	}
	scanner := bufio.NewScanner(bytes.NewReader(joined))
	for scanner.Scan() {
		if scanner.Text() == "" {
			continue
		}
		var l line
		if json.Unmarshal(scanner.Bytes(), &l) != nil {
			torn++
			continue
		}
		lines = append(lines, l)
	}
	return lines, torn
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// ids are the records' own, of an index, in the order of the lines.
func ids(lines []line, index string) (ids []string) {
	for _, l := range lines {
		if l.Index == index {
			ids = append(ids, fmt.Sprint(l.Source["id"]))
		}
	}
	return ids
}

func fine(t *testing.T, r sink.Result) {
	t.Helper()
	if r.Class != outcome.Indexed || len(r.Items) > 0 || r.Overloaded {
		t.Errorf("the result is %+v", r)
	}
}

func TestDocumentsAreWrittenAsHits(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "on the way")
	s := open(t, dir, Settings{})
	b := bulk(spans, "a", "b")
	add(b, logs, "c", `{"_id":"posing","_index":"other"}`)
	r := s.Do(t.Context(), b)
	fine(t, r)
	if r.Bytes != b.Size() || r.Took <= 0 {
		t.Errorf("the result is %+v", r)
	}
	lines, torn := read(t, dir)
	if got := ids(lines, spans); !slices.Equal(got, []string{"a", "b"}) || len(lines) != 3 || torn > 0 {
		t.Errorf("the lines are %+v", lines)
	}
	for _, l := range lines {
		if l.Index == logs && (l.ID != telemetry.NewDocID("acme", logs, "c").String() || l.Source["_id"] != "posing" ||
			l.Source["indexed_at"] != "2026-11-29T01:02:03.000Z" || l.Source["tenant"] != "acme") {
			t.Errorf("a line is %+v", l)
		}
	}
	if len(files(t, dir)) != 2 {
		t.Errorf("the files are %v", files(t, dir))
	}
	fine(t, s.Do(t.Context(), &sink.Bulk{}))
}

func TestDocumentsSentAgainAreThereTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Settings{})
	for range 2 {
		fine(t, s.Do(t.Context(), bulk(spans, "a")))
	}
	lines, _ := read(t, dir)
	if len(lines) != 2 || lines[0].ID != lines[1].ID {
		t.Errorf("the lines are %+v", lines)
	}
	found, err := s.Find(t.Context(), []sink.Reference{{Index: spans, ID: lines[0].ID}})
	if err != nil || len(found) != 1 || found[0].There {
		t.Errorf("found %v, error %v", found, err)
	}
	there, err := s.Exist(t.Context(), []sink.Reference{{Index: spans, ID: lines[0].ID}})
	if err != nil || len(there) != 1 || there[0] {
		t.Errorf("there is %v, error %v", there, err)
	}
}

func TestStrangersNamesStayInsideTheDirectory(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	dir := filepath.Join(outside, "sink")
	s := open(t, dir, Settings{})
	names := []string{"..", ".", "", "../escaped", "a/../../escaped", "/escaped", ".hidden", "UPPER", "ä", strings.Repeat("a", 256)}
	b := bulk(spans, "good")
	for n, name := range names {
		add(b, name, fmt.Sprint(n), `{}`)
	}
	r := s.Do(t.Context(), b)
	if r.Class != outcome.Indexed || len(r.Items) != len(names) {
		t.Fatalf("the result is %+v", r)
	}
	for n, item := range r.Items {
		if item.Position != n+1 || item.Class != outcome.Poison || item.Error.Type != invalidIndexName {
			t.Errorf("%q is %+v", names[n], item)
		}
	}
	lines, _ := read(t, dir)
	if len(lines) != 1 || lines[0].Index != spans {
		t.Errorf("the lines are %+v", lines)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside there are %v, error %v", entries, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("inside there are %v, error %v", entries, err)
	}
}

func TestLinksDoNotLeadOutside(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, spans)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Settings{})
	r := s.Do(t.Context(), bulk(spans, "a"))
	if len(r.Items) != 1 || r.Items[0].Class != outcome.Transient {
		t.Errorf("the result is %+v", r)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside there are %v, error %v", entries, err)
	}
}

func TestDocumentsThatAreNoJSONArePoison(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Settings{})
	b := bulk(spans, "a")
	add(b, spans, "b", `{"broken":}`)
	add(b, spans, "c", `{}`)
	r := s.Do(t.Context(), b)
	if len(r.Items) != 1 || r.Items[0].Position != 1 || r.Items[0].Class != outcome.Poison || r.Items[0].Error.Type != notJSON {
		t.Errorf("the result is %+v", r)
	}
	if lines, torn := read(t, dir); !slices.Equal(ids(lines, spans), []string{"a", "c"}) || torn > 0 {
		t.Errorf("the lines are %+v, %d torn", lines, torn)
	}
}

func TestBulksWithOtherLinesAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Settings{})
	for _, index := range []string{"a\nb", `a"}}` + "\n{}\n" + `{"create":{"_index":"b`, `a"b`, `a\c`, "a\x00b"} {
		r := s.Do(t.Context(), bulk(index, "a"))
		if r.Class != outcome.Refused || r.Error.Type != malformedBulk {
			t.Errorf("%q gives %+v", index, r)
		}
	}
	if all := files(t, dir); len(all) > 0 {
		t.Errorf("there are %v", all)
	}
}

func TestFilesAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const most = 2000
	s := open(t, dir, Settings{FileBytes: most})
	var want []string
	for n := range 40 {
		want = append(want, fmt.Sprintf("%02d", n))
		fine(t, s.Do(t.Context(), bulk(spans, want[n])))
	}
	all := files(t, dir)
	if len(all) < 4 || len(all) > 20 {
		t.Errorf("there are %d files", len(all))
	}
	for _, name := range all {
		if info, err := os.Stat(name); err != nil || info.Size() > most {
			t.Errorf("%s has %d bytes, error %v", name, info.Size(), err)
		}
	}
	lines, _ := read(t, dir)
	got := ids(lines, spans)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the lines are of %v", got)
	}
	var many []string
	for n := range 100 {
		many = append(many, fmt.Sprint(n))
	}
	fine(t, s.Do(t.Context(), bulk(logs, many...))) // larger than a file, and not cut
	if lines, _ := read(t, dir); !slices.Equal(ids(lines, logs), many) {
		t.Error("a bulk that is larger than a file is not complete")
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const most = 3
	s := open(t, dir, Settings{OpenFiles: most})
	var isOpen, highest int
	var mu sync.Mutex
	count := func(by int) {
		mu.Lock()
		defer mu.Unlock()
		isOpen += by
		highest = max(highest, isOpen)
	}
	s.opened = func(f *os.File) handle { count(1); return &faulty{File: f, closed: func() { count(-1) }} }
	var group sync.WaitGroup
	for n := range 10 {
		group.Go(func() {
			for m := range 5 {
				fine(t, s.Do(t.Context(), bulk(fmt.Sprintf("telemetry-log-%d", (n+m)%8), fmt.Sprintf("%d-%d", n, m))))
			}
		})
	}
	group.Wait()
	if lines, torn := read(t, dir); len(lines) != 50 || torn > 0 {
		t.Errorf("there are %d lines, %d torn", len(lines), torn)
	}
	if err := s.Close(); err != nil || isOpen != 0 || highest > most {
		t.Errorf("%d files are open, at most %d were, error %v", isOpen, highest, err)
	}
	r := s.Do(t.Context(), bulk(spans, "late"))
	if len(r.Items) != 1 || r.Items[0].Class != outcome.Transient || r.Items[0].Error.Type != closed {
		t.Errorf("after Close: %+v", r)
	}
}

func TestConcurrentBulksAreWrittenWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := open(t, dir, Settings{FileBytes: 20_000}), open(t, dir, Settings{FileBytes: 20_000}) // as two workers that share it
	var group sync.WaitGroup
	const callers, bulks, documents = 8, 10, 10
	for n := range callers {
		group.Go(func() {
			for m := range bulks {
				both := &sink.Bulk{}
				for d := range documents {
					add(both, []string{spans, logs}[d%2], fmt.Sprintf("%d-%d-%d", n, m, d), `{}`)
				}
				fine(t, []*Sink{a, b}[n%2].Do(t.Context(), both))
			}
		})
	}
	group.Wait()
	lines, torn := read(t, dir)
	distinct := map[string]bool{}
	for _, l := range lines {
		distinct[l.ID] = true
	}
	if len(lines) != callers*bulks*documents || len(distinct) != len(lines) || torn > 0 {
		t.Errorf("there are %d lines, %d ids, %d torn", len(lines), len(distinct), torn)
	}
}

func TestCanceledCallsWriteNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Settings{})
	r := s.Do(canceledContext(t), bulk(spans, "a"))
	if r.Class != outcome.Transient || r.Error.Type != canceled || r.Overloaded || len(files(t, dir)) > 0 {
		t.Errorf("the result is %+v", r)
	}
}

func TestLimitsAreNotNegative(t *testing.T) {
	t.Parallel()
	for _, wrong := range []Settings{{FileBytes: -1}, {OpenFiles: -1}} {
		if _, err := Open(t.TempDir(), wrong); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}

func TestReadinessNeedsTheDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sink")
	s := open(t, dir, Settings{})
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("a look leaves %v, error %v", entries, err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("without its directory: %v", err)
	}
}
