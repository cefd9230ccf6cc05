package faultproxy

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
)

// WatchMessages passes every SendMessageBatch, and hands over each message that
// a queue has taken before its sender knows of that.
type WatchMessages struct {
	Queue string // name
	Taken func(body string)
}

func (f WatchMessages) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int { //nolint:unparam // as Fault has it
	body := readBody(r)
	var call struct {
		QueueURL string `json:"QueueUrl"`
		Entries  []struct{ ID, MessageBody string }
	}
	must(json.Unmarshal(body, &call))
	setBody(r, body)
	if !strings.HasSuffix(call.QueueURL, "/"+f.Queue) {
		forward.ServeHTTP(w, r)
		return nothing
	}
	got := record(r, forward)
	var answered struct{ Successful []struct{ ID string } }
	if got.Code == http.StatusOK {
		must(json.Unmarshal(got.Body.Bytes(), &answered))
	}
	taken := map[string]bool{}
	for _, entry := range answered.Successful {
		taken[entry.ID] = true
	}
	for _, entry := range call.Entries {
		if taken[entry.ID] {
			f.Taken(entry.MessageBody)
		}
	}
	replay(w, got, got.Body.Len())
	return nothing
}

// StrictMessages refuses of a SendMessageBatch what SQS refuses and emulators
// take: a message with a character outside of SQS's set, or longer than the
// limit (API reference, SendMessage).
type StrictMessages struct {
	Limit int // bytes; default: 1 MiB
}

func (s StrictMessages) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	var call map[string]json.RawMessage
	if err := json.Unmarshal(readBody(r), &call); err != nil || call["Entries"] == nil {
		panic(errNotABatch)
	}
	var all, passed, failed []json.RawMessage
	must(json.Unmarshal(call["Entries"], &all))
	for _, entry := range all {
		var message struct{ ID, MessageBody string }
		must(json.Unmarshal(entry, &message))
		code := s.refuses(message.MessageBody)
		if code == "" {
			passed = append(passed, entry)
			continue
		}
		failed = append(failed, encode(map[string]any{"Id": message.ID, "Code": code, "Message": "by the fault proxy", "SenderFault": true}))
	}
	var taken struct {
		Successful, Failed []json.RawMessage
	}
	if len(passed) > 0 {
		call["Entries"] = encode(passed)
		if !(RejectEntries{}).forward(w, r, forward, call, &taken) {
			return 0
		}
	}
	taken.Failed = append(taken.Failed, failed...)
	answer(w, r, taken)
	if len(failed) == 0 {
		return nothing
	}
	return len(failed)
}

// refuses returns the code with which SQS refuses a message, if it does.
func (s StrictMessages) refuses(body string) string {
	if len(body) > cmp.Or(s.Limit, 1<<20) {
		return "InvalidParameterValue"
	}
	for _, c := range body {
		switch {
		case c == '\t', c == '\n', c == '\r', c >= 0x20 && c <= 0xD7FF,
			c >= 0xE000 && c <= 0xFFFD, c >= 0x10000 && c <= 0x10FFFF:
		default:
			return "InvalidMessageContents"
		}
	}
	return ""
}
