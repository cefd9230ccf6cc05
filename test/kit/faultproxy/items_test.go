package faultproxy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"millrace/deploy/local/localtest"
	"millrace/test/kit/faultproxy"
)

// service answers as told, and keeps the bodies it got.
type service struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
}

func serve(t *testing.T, answer func(body string) string) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.bodies = append(s.bodies, string(body))
		s.mu.Unlock()
		_, _ = io.WriteString(w, answer(string(body)))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) got() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.bodies, "")
}

func send(t *testing.T, url, target, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if target != "" {
		request.Header.Set("X-Amz-Target", target)
	}
	response, err := localtest.Client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// bulk is an Elasticsearch that creates every document.
func bulk(body string) string {
	items := strings.Repeat(`{"create":{"status":201}},`, strings.Count(body, "\n")/2)
	return `{"errors":false,"items":[` + strings.TrimSuffix(items, ",") + `]}`
}

// What a bulk is answered must be true of every position: what was created has
// reached the server, what was refused has not.
func TestRejectsItemsOfABulk(t *testing.T) {
	t.Parallel()
	server := serve(t, bulk)
	proxy := start(t, server.URL)
	proxy.Set(faultproxy.Rule{Name: "items", Path: "/_bulk", Fault: faultproxy.RejectItems{
		Share: 0.4, Status: 429, Type: "es_rejected_execution_exception",
	}})
	var body strings.Builder
	for n := range 200 {
		fmt.Fprintf(&body, "{\"create\":{\"_id\":\"%d\"}}\n{\"n\":\"<%d>\"}\n", n, n)
	}
	status, text := send(t, proxy.URL()+"/_bulk?filter_path=errors", "", body.String())
	var answer struct {
		Errors bool
		Items  []struct {
			Create struct {
				Status int
				Error  struct{ Type string }
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK || !answer.Errors || len(answer.Items) != 200 {
		t.Fatalf("status %d, %d items, errors %v: %v", status, len(answer.Items), answer.Errors, err)
	}
	rejected := 0
	for n, item := range answer.Items {
		reached := strings.Contains(server.got(), fmt.Sprintf("{\"create\":{\"_id\":\"%d\"}}\n{\"n\":\"<%d>\"}\n", n, n))
		if reached != (item.Create.Status == 201) {
			t.Errorf("item %d was answered with %d, and reached the server: %v", n, item.Create.Status, reached)
		}
		if !reached {
			rejected++
			if item.Create.Status != 429 || item.Create.Error.Type != "es_rejected_execution_exception" {
				t.Errorf("item %d was answered with %+v", n, item.Create)
			}
		}
	}
	if times, entries := proxy.Count("items"); times != 1 || entries != rejected || rejected < 40 || rejected > 120 {
		t.Errorf("%d rejected; the log has %d in %d calls", rejected, entries, times)
	}

	all := faultproxy.RejectItems{Share: 1, Status: 400, Type: "x"}
	proxy.Set(faultproxy.Rule{Name: "all", Fault: all})
	before := server.got()
	if _, text := send(t, proxy.URL()+"/_bulk", "", "{}\n{}\n"); !strings.Contains(text, `"type":"x"`) || server.got() != before {
		t.Errorf("a bulk of which nothing is left reached the server, or was answered %s", text)
	}
	all.Holds = "bad"
	proxy.Set(faultproxy.Rule{Name: "some", Fault: all})
	_, _ = send(t, proxy.URL()+"/_bulk", "", `{"create":{"_id":"is bad"}}`+"\n{}\n{}\n"+`{"is":"bad"}`+"\n")
	if got := strings.TrimPrefix(server.got(), before); got != `{"create":{"_id":"is bad"}}`+"\n{}\n" {
		t.Errorf("of a bulk with one document that is meant, this reached the server: %q", got)
	}
}

func TestWatchSeesWhatTheServiceAnswers(t *testing.T) {
	t.Parallel()
	server := serve(t, func(string) string { return "a block, and another block" })
	proxy := start(t, server.URL)
	watch := faultproxy.NewWatch("block", "limit")
	proxy.Set(faultproxy.Rule{Name: "watched", Fault: watch})
	if _, text := send(t, proxy.URL(), "", "x"); text != "a block, and another block" || server.got() != "x" {
		t.Errorf("the answer became %q", text)
	}
	if watch.Seen("block") != 2 || watch.Seen("limit") != 0 || len(proxy.Log()) != 0 {
		t.Errorf("%d blocks, %d limits, log %v", watch.Seen("block"), watch.Seen("limit"), proxy.Log())
	}
}

// putRecords is a call with these records.
func putRecords(data ...string) string {
	var entries []string
	for _, d := range data {
		entries = append(entries, `{"Data":"`+base64.StdEncoding.EncodeToString([]byte(d))+`","PartitionKey":"k"}`)
	}
	return `{"StreamName":"s","Records":[` + strings.Join(entries, ",") + `]}`
}

func TestRefusesCallForOneRecord(t *testing.T) {
	t.Parallel()
	server := serve(t, func(string) string { return "taken" })
	proxy := start(t, server.URL)
	proxy.Set(faultproxy.Rule{Name: "refused", Operation: "PutRecords", Fault: faultproxy.RefuseCalls{
		With: func(data []byte) bool { return bytes.Contains(data, []byte("bad")) }, Code: "ValidationException",
	}})
	if status, text := send(t, proxy.URL(), "Kinesis_20131202.PutRecords", putRecords("good", "bad", "bad")); status != 400 || !strings.Contains(text, "ValidationException") || server.got() != "" {
		t.Errorf("a call with bad records was answered %d %s", status, text)
	}
	good := putRecords("good", "good")
	if status, text := send(t, proxy.URL(), "Kinesis_20131202.PutRecords", good); status != 200 || text != "taken" || server.got() != good {
		t.Errorf("a call without bad records was answered %d %s", status, text)
	}
	if times, entries := proxy.Count("refused"); times != 1 || entries != 2 {
		t.Errorf("%d calls and %d records in the log", times, entries)
	}
}

func TestRewritesRecords(t *testing.T) {
	t.Parallel()
	server := serve(t, func(string) string { return "" })
	proxy := start(t, server.URL)
	proxy.Set(faultproxy.Rule{Name: "rewritten", Operation: "PutRecords", Fault: faultproxy.Rewrite{Record: bytes.ToUpper}})
	send(t, proxy.URL(), "Kinesis_20131202.PutRecords", putRecords("a", "b"))
	var got, want any
	if err := json.Unmarshal([]byte(server.got()), &got); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal([]byte(putRecords("A", "B")), &want)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the call became %s", server.got())
	}
}

func TestRoutesAndSizes(t *testing.T) {
	t.Parallel()
	one, other := serve(t, func(string) string { return "one" }), serve(t, func(string) string { return "other" })
	proxy := start(t, one.URL, faultproxy.Route{Service: "Kinesis_20131202", Target: other.URL})
	proxy.Set(
		faultproxy.Rule{Name: "large", AtLeast: 10, Fault: faultproxy.Answer{Status: 413}},
		faultproxy.Rule{Name: "meant", Holds: "old", Fault: faultproxy.Answer{Status: 410}},
	)
	for target, want := range map[string]string{"": "one", "AmazonSQS.SendMessage": "one", "Kinesis_20131202.GetRecords": "other"} {
		if status, text := send(t, proxy.URL(), target, "x"); status != 200 || text != want {
			t.Errorf("%q was answered %d %s", target, status, text)
		}
		if status, _ := send(t, proxy.URL(), target, "0123456789"); status != 413 {
			t.Errorf("a large %q was answered %d", target, status)
		}
		if status, _ := send(t, proxy.URL(), target, "an old x"); status != 410 {
			t.Errorf("a %q that a rule is for was answered %d", target, status)
		}
	}
}

// Only what the named queue has taken went through it: no refused entry of a
// batch, no refused batch, and nothing of another queue.
func TestWatchSeesTheMessagesThatAQueueHasTaken(t *testing.T) {
	t.Parallel()
	answer := `{"Successful":[{"Id":"0"},{"Id":"2"}],"Failed":[{"Id":"1","Code":"ServiceUnavailable"}]}`
	server := serve(t, func(string) string { return answer })
	proxy := start(t, server.URL)
	var taken []string // the proxy adds to it before it answers
	proxy.Set(faultproxy.Rule{Name: "watch", Operation: "SendMessageBatch", Fault: faultproxy.WatchMessages{
		Queue: "fallback", Taken: func(body string) { taken = append(taken, body) },
	}})
	call := func(queue string) string {
		return `{"QueueUrl":"http://sqs/1/` + queue + `","Entries":[{"Id":"0","MessageBody":"a"},{"Id":"1","MessageBody":"b"},{"Id":"2","MessageBody":"c"}]}`
	}
	for _, queue := range []string{"fallback", "dead-letters", "not-fallback"} {
		if status, got := send(t, proxy.URL(), "AmazonSQS.SendMessageBatch", call(queue)); status != http.StatusOK || got != answer {
			t.Errorf("%s is answered %d %s", queue, status, got)
		}
	}
	if got := strings.Join(taken, ","); got != "a,c" {
		t.Errorf("%s are taken", got)
	}
	if want := call("fallback") + call("dead-letters") + call("not-fallback"); server.got() != want {
		t.Errorf("the service got %s", server.got())
	}
	if _, entries := proxy.Count("watch"); entries != 0 {
		t.Errorf("the log has %d faults", entries)
	}
}
