package index

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/limiter"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// fake is a server of bulks that reads real NDJSON, so that what no real server
// can be brought to do is tested through the real client all the same.
type fake struct {
	mu   sync.Mutex
	docs map[string]string // by _index/_id

	// refuse gives the answer to an operation instead of taking it, or "".
	refuse func(request int, id string) string
	// answer, when set, stands between the applied bulk and its response.
	answer func(w http.ResponseWriter, r *http.Request, request int, response []byte)

	requests int
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	request := f.requests
	f.requests++
	response, err := f.apply(r, request)
	f.mu.Unlock()
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":{"type":"illegal_argument_exception","reason":%q},"status":400}`, err)
		return
	}
	if f.answer != nil {
		f.answer(w, r, request, response)
		return
	}
	_, _ = w.Write(response)
}

func (f *fake) apply(r *http.Request, request int) ([]byte, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/_bulk" || r.Header.Get("Content-Type") != "application/x-ndjson" {
		return nil, fmt.Errorf("unexpected %s %s of %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	body := r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = unzipped
	}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 16<<20)
	var items []string
	failed := false
	for lines.Scan() {
		var action struct {
			Create struct {
				Index string `json:"_index"`
				ID    string `json:"_id"`
			} `json:"create"`
		}
		if err := json.Unmarshal(lines.Bytes(), &action); err != nil || action.Create.ID == "" {
			return nil, fmt.Errorf("malformed action %q: %w", lines.Bytes(), err)
		}
		if !lines.Scan() || !json.Valid(lines.Bytes()) {
			return nil, fmt.Errorf("malformed document %q", lines.Bytes())
		}
		key := action.Create.Index + "/" + action.Create.ID
		item := `{"status":201}`
		if refusal := f.refusal(request, action.Create.ID); refusal != "" {
			item, failed = refusal, true
		} else if _, there := f.docs[key]; there {
			item, failed = `{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"exists"}}`, true
		} else {
			f.docs[key] = lines.Text()
		}
		items = append(items, `{"create":`+item+`}`)
	}
	return fmt.Appendf(nil, `{"errors":%v,"items":[%s]}`, failed, strings.Join(items, ",")), lines.Err()
}

func (f *fake) refusal(request int, id string) string {
	if f.refuse == nil {
		return ""
	}
	return f.refuse(request, id)
}

// open starts the fake and makes a client for it.
func (f *fake) open(t *testing.T, change ...func(*Settings)) *Client {
	t.Helper()
	f.docs = map[string]string{}
	return clientOf(t, f, change...)
}

func clientOf(t *testing.T, handler http.Handler, change ...func(*Settings)) *Client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	settings := Settings{URLs: []string{s.URL}}
	for _, c := range change {
		c(&settings)
	}
	c, err := Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const undated = "telemetry-span-undated"

func someBulk(t testing.TB, n int) *sink.Bulk {
	b := &sink.Bulk{}
	for i := range n {
		b.Add(record(t, undated, fmt.Sprint(i), fmt.Sprintf(`{"number":%d}`, i)), now)
	}
	return b
}

func TestWhatIsTransientIsSentAgainByItself(t *testing.T) {
	t.Parallel()
	f := &fake{}
	busy := map[string]bool{}
	f.refuse = func(request int, id string) string {
		if request == 0 && busy[id] {
			return `{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}`
		}
		return ""
	}
	c := f.open(t)
	all, records := &sink.Bulk{}, []telemetry.Record{}
	for i := range 10 {
		r := record(t, undated, fmt.Sprint(i), `{}`)
		records = append(records, r)
		busy[string(r.DocIDText)] = i%3 == 0
		all.Add(r, now)
	}
	first := c.Do(t.Context(), all)
	if first.Class != outcome.Indexed || len(first.Items) != 4 || first.Feedback().Verdict != limiter.Overloaded {
		t.Fatalf("%+v", first)
	}
	again := &sink.Bulk{}
	for _, item := range first.Items {
		if item.Class != outcome.Transient || item.Position%3 != 0 {
			t.Errorf("%+v", item)
		}
		again.Add(records[item.Position], now)
	}
	if r := c.Do(t.Context(), again); r.Class != outcome.Indexed || len(r.Items) != 0 || len(f.docs) != 10 || r.Feedback().Verdict != limiter.Fine {
		t.Errorf("%+v, and %d documents", r, len(f.docs))
	}
}

func TestOneDuplicateRequestIsAnsweredAsDuplicates(t *testing.T) {
	t.Parallel()
	f := &fake{answer: func(w http.ResponseWriter, r *http.Request, request int, response []byte) {
		if request == 0 { // applied, and then no answer
			<-r.Context().Done()
			return
		}
		_, _ = w.Write(response)
	}}
	c := f.open(t, func(s *Settings) { s.Timeout = 100 * time.Millisecond })
	b := someBulk(t, 5)
	if r := c.Do(t.Context(), b); r.Class != outcome.Transient || !r.TimedOut || len(r.Items) != 0 || r.Feedback().Verdict != limiter.Overloaded {
		t.Fatalf("applied then timed out: %+v", r)
	}
	c.timeout = DefaultTimeout
	r := c.Do(t.Context(), b)
	if r.Class != outcome.Indexed || len(r.Items) != 5 || len(f.docs) != 5 || r.Feedback().Verdict != limiter.Fine {
		t.Fatalf("again: %+v", r)
	}
	for _, item := range r.Items {
		if item.Class != outcome.Indexed || !item.Duplicate {
			t.Errorf("%+v", item)
		}
	}
}

func TestAnAnswerThatIsNotForEveryDocumentIsForNone(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(response string) string{
		"truncated":         func(r string) string { return r[:len(r)/2] },
		"empty":             func(string) string { return "" },
		"one item short":    func(r string) string { return strings.Replace(r, `{"create":{"status":201}},`, "", 1) },
		"one item more":     func(r string) string { return strings.Replace(r, `]`, `,{"create":{"status":201}}]`, 1) },
		"of something else": func(r string) string { return strings.Replace(r, "create", "index", 1) },
		"without items":     func(string) string { return `{"errors":false}` },
		"not JSON":          func(string) string { return `<html>fine</html>` },
		"something behind":  func(r string) string { return r + "}" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{answer: func(w http.ResponseWriter, _ *http.Request, _ int, response []byte) {
				_, _ = io.WriteString(w, change(string(response)))
			}}
			r := f.open(t).Do(t.Context(), someBulk(t, 3))
			if r.Class != outcome.Transient || len(r.Items) != 0 || r.Error.Reason == "" || r.TimedOut {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestARequestThatFailsAsAWhole(t *testing.T) {
	t.Parallel()
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, c := range map[string]struct {
		handler  http.HandlerFunc
		class    outcome.Class
		reason   string
		verdict  limiter.Verdict
		timedOut bool
	}{
		"429": {status(429, `{"error":{"type":"es_rejected_execution_exception","reason":"full"},"status":429}`),
			outcome.Transient, "full", limiter.Overloaded, false},
		"500":            {status(500, `{}`), outcome.Transient, "{}", limiter.Overloaded, false},
		"503 of a proxy": {status(503, `<html>away</html>`), outcome.Transient, "away", limiter.Overloaded, false},
		"504 of a proxy": {status(504, ``), outcome.Transient, "", limiter.Overloaded, true},
		"block": {status(503, `{"error":{"type":"cluster_block_exception","reason":"no master"},"status":503}`),
			outcome.Transient, "no master", limiter.Neutral, false},
		"401":        {status(401, `{"error":{"type":"security_exception","reason":"who?"}}`), outcome.Transient, "who?", limiter.Neutral, false},
		"403":        {status(403, ``), outcome.Transient, "", limiter.Neutral, false},
		"404":        {status(404, ``), outcome.Transient, "", limiter.Neutral, false},
		"a redirect": {status(302, ``), outcome.Transient, "", limiter.Neutral, false},
		"413":        {status(413, ``), outcome.TooLarge, "", limiter.Oversized, false},
		"400": {status(400, `{"error":{"type":"parse_exception","reason":"malformed"},"status":400}`),
			outcome.Refused, "malformed", limiter.Neutral, false},
		"reset": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, outcome.Transient, "EOF", limiter.Overloaded, false},
		"a body cut off": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("X-Elastic-Product", "Elasticsearch")
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"errors":false,"items":[{"create":{"status":201}}`)
		}, outcome.Transient, "unexpected EOF", limiter.Overloaded, false},
		"not Elasticsearch": {status(200, `{"errors":false,"items":[{"create":{"status":201}}]}`), outcome.Transient, "not Elasticsearch", limiter.Overloaded, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := clientOf(t, c.handler).Do(t.Context(), someBulk(t, 1))
			if r.Class != c.class || len(r.Items) != 0 || r.TimedOut != c.timedOut || !strings.Contains(r.Error.Reason, c.reason) {
				t.Errorf("%+v, want class %s, a reason with %q, timed out %v", r, c.class, c.reason, c.timedOut)
			}
			if got := r.Feedback(); got.Verdict != c.verdict || got.Bytes == 0 || got.Took == 0 {
				t.Errorf("feedback %+v, want verdict %d", got, c.verdict)
			}
		})
	}
}

func TestAHostThatIsAwayIsNoTimeoutOfABody(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := Open(Settings{URLs: []string{"http://" + listener.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Do(t.Context(), someBulk(t, 1)); r.Class != outcome.Transient || r.TimedOut || r.Feedback().Verdict != limiter.Overloaded {
		t.Errorf("refused: %+v", r)
	}
	timeout := &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	if r := unanswered(t.Context(), fmt.Errorf("perform: %w", timeout)); r.TimedOut {
		t.Errorf("a timeout of dialing: %+v", r)
	}
}

func TestACallerWhoLeavesTellsNothingOfTheServer(t *testing.T) {
	t.Parallel()
	c := clientOf(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r := c.Do(ctx, someBulk(t, 1)); r.Class != outcome.Transient || r.TimedOut || r.Feedback().Verdict != limiter.Neutral {
		t.Errorf("%+v", r)
	}
}

// Without care, the network would still read a body that is being built anew.
func TestTheBulkIsFreeWhenDoReturns(t *testing.T) {
	t.Parallel()
	refuseAtOnce := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests) // and reads nothing
	})
	neverAnswer := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-t.Context().Done() })
	for name, c := range map[string]*Client{
		"refused at once": clientOf(t, refuseAtOnce),
		"never answered":  clientOf(t, neverAnswer, func(s *Settings) { s.Timeout = 50 * time.Millisecond }),
		"not reached":     clientOf(t, refuseAtOnce, func(s *Settings) { s.URLs = []string{"http://127.0.0.1:1"} }),
		"gzip":            clientOf(t, refuseAtOnce, func(s *Settings) { s.Gzip = true }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			large, b := record(t, undated, "large", `{"padding":"`+strings.Repeat("x", 900_000)+`"}`), &sink.Bulk{}
			for range 3 {
				for b.Size() < 8<<20 {
					b.Add(large, now)
				}
				if r := c.Do(t.Context(), b); r.Class != outcome.Transient {
					t.Fatalf("%+v", r)
				}
				clear(b.Body()) // the race detector reports a reader
				b.Reset()
			}
		})
	}
}

func TestGzipArrivesAsItWas(t *testing.T) {
	t.Parallel()
	f := &fake{}
	c := f.open(t, func(s *Settings) { s.Gzip = true })
	r := record(t, undated, "a", `{"name":"`+strings.Repeat("x", 10_000)+`"}`)
	if result := c.Do(t.Context(), bulkOf(r)); result.Class != outcome.Indexed || len(result.Items) != 0 {
		t.Fatalf("%+v", result)
	}
	want := `{"indexed_at":"2026-11-23T01:02:04.000Z",` + string(r.Document)
	if got := f.docs[undated+"/"+string(r.DocIDText)]; got != want {
		t.Errorf("got %.200s, want %.200s", got, want)
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Settings{
		"no address":     {},
		"unknown flavor": {URLs: []string{"http://localhost"}, Flavor: "solr"},
		"no credentials": {URLs: []string{"http://localhost"}, SigV4: true},
		"no such file":   {URLs: []string{"http://localhost"}, CAFile: "nowhere.pem"},
		"not a PEM file": {URLs: []string{"http://localhost"}, CAFile: "wire_test.go"},
	} {
		if _, err := Open(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAnEmptyBulkIsNotSent(t *testing.T) {
	t.Parallel()
	f := &fake{}
	if r := f.open(t).Do(t.Context(), &sink.Bulk{}); r.Class != outcome.Indexed || len(r.Items) != 0 || f.requests != 0 {
		t.Errorf("%+v after %d requests", r, f.requests)
	}
}

func TestErrorsOfRequestsAreNotLostOnTheWay(t *testing.T) {
	t.Parallel()
	c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error":{"type":"security_exception","reason":"not yours"},"status":403}`)
	}))
	err := c.Setup(t.Context(), DefaultLayout)
	var status *StatusError
	if !errors.As(err, &status) || status.Status != http.StatusForbidden || !strings.Contains(err.Error(), "not yours") {
		t.Errorf("%v", err)
	}
}
