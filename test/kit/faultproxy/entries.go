package faultproxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
)

// RejectEntries rejects a random share, 0 to 1, of the entries of PutRecords
// and SendMessageBatch, as the services do that take the rest.
type RejectEntries struct {
	Share float64
	Code  string // default: ProvisionedThroughputExceededException, or ServiceUnavailable of SQS
}

func (e RejectEntries) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	var call map[string]json.RawMessage
	if err := json.Unmarshal(readBody(r), &call); err != nil {
		panic(fmt.Sprintf("divide a call: %v", err)) // a rule for the wrong calls is a mistake in the test
	}
	switch {
	case call["Records"] != nil:
		return e.putRecords(w, r, forward, call)
	case call["Entries"] != nil:
		return e.sendMessages(w, r, forward, call)
	}
	panic(errNotABatch)
}

func (e RejectEntries) putRecords(w http.ResponseWriter, r *http.Request, forward http.Handler, call map[string]json.RawMessage) int {
	var all, passed []json.RawMessage
	must(json.Unmarshal(call["Records"], &all))
	rejected := make([]bool, len(all))
	for i, record := range all {
		if rejected[i] = rand.Float64() < e.Share; !rejected[i] {
			passed = append(passed, record)
		}
	}
	var taken struct {
		Records           []json.RawMessage
		FailedRecordCount int
		EncryptionType    string `json:",omitempty"`
	}
	if len(passed) > 0 {
		call["Records"] = encode(passed)
		if !e.forward(w, r, forward, call, &taken) {
			return 0
		}
	}
	code := e.Code
	if code == "" {
		code = "ProvisionedThroughputExceededException"
	}
	refusal := encode(map[string]string{"ErrorCode": code, "ErrorMessage": "by the fault proxy"})
	merged := make([]json.RawMessage, len(all))
	for i := range all {
		if rejected[i] {
			merged[i] = refusal
			taken.FailedRecordCount++
		} else {
			merged[i], taken.Records = taken.Records[0], taken.Records[1:]
		}
	}
	entries := len(all) - len(passed)
	taken.Records = merged
	answer(w, r, taken)
	return entries
}

func (e RejectEntries) sendMessages(w http.ResponseWriter, r *http.Request, forward http.Handler, call map[string]json.RawMessage) int {
	var all, passed []json.RawMessage
	must(json.Unmarshal(call["Entries"], &all))
	code := e.Code
	if code == "" {
		code = "ServiceUnavailable"
	}
	var failed []json.RawMessage
	for _, entry := range all {
		if rand.Float64() >= e.Share {
			passed = append(passed, entry)
			continue
		}
		var named struct{ ID string }
		must(json.Unmarshal(entry, &named))
		failed = append(failed, encode(map[string]any{"Id": named.ID, "Code": code, "Message": "by the fault proxy", "SenderFault": false}))
	}
	var taken struct {
		Successful, Failed []json.RawMessage
	}
	if len(passed) > 0 {
		call["Entries"] = encode(passed)
		if !e.forward(w, r, forward, call, &taken) {
			return 0
		}
	}
	taken.Failed = append(taken.Failed, failed...)
	answer(w, r, taken)
	return len(failed)
}

// forward makes the call with the entries that are left. If the service
// refuses it, the answer goes to the caller as it is.
func (RejectEntries) forward(w http.ResponseWriter, r *http.Request, forward http.Handler, call map[string]json.RawMessage, taken any) bool {
	setBody(r, encode(call))
	got := record(r, forward)
	if got.Code != http.StatusOK {
		replay(w, got, got.Body.Len())
		return false
	}
	must(json.Unmarshal(got.Body.Bytes(), taken))
	return true
}

func setBody(r *http.Request, body []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// readBody reads the whole body, which a caller that has gone does not send.
func readBody(r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return body
}

func answer(w http.ResponseWriter, r *http.Request, body any) {
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	_, _ = w.Write(encode(body))
}

func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	must(err)
	return text
}

// must is for what cannot fail unless client or service break their protocol.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("read a batch: %v", err))
	}
}
