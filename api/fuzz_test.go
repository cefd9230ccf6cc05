package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
	"unicode/utf8"

	"millrace/internal/telemetry"
)

var fuzzLimits = Limits{Depth: 8, Records: 20, RecordBytes: 4096}.withDefaults()

// decodeFuzzed decodes a body and checks what must hold of any.
func decodeFuzzed(t *testing.T, decode func(*batch) error, body []byte) {
	t.Helper()
	b := newBatch(fuzzLimits, testTenant, testRegion, testNow, body, new(draft))
	b.once.key = "again"
	if err := decode(b); err != nil {
		if err.Error() == "" {
			t.Error("an error without a reason")
		}
		return
	}
	if len(b.records)+len(b.rejected) != b.position || b.position > fuzzLimits.Records {
		t.Errorf("%d taken and %d rejected of %d", len(b.records), len(b.rejected), b.position)
	}
	for i, r := range b.rejected {
		if r.Reason == "" || (i > 0 && r.Position <= b.rejected[i-1].Position) {
			t.Errorf("rejected: %v", b.rejected)
		}
	}
	for _, data := range b.records {
		r, err := telemetry.Parse(data)
		if err != nil || !utf8.Valid(data) || !json.Valid(data) || len(data) > fuzzLimits.RecordBytes {
			t.Fatalf("the stream cannot read %q: %v", data, err)
		}
		document := decodeStrictly(t, data)
		id, _ := document["id"].(string)
		if id == "" || telemetry.NewDocID(testTenant, ownIndex(r), id) != r.DocID || document["region"] != testRegion {
			t.Fatalf("the head is wrong: %s", data)
		}
	}
	// The same request again gives the same records but for when they came.
	again := newBatch(fuzzLimits, testTenant, testRegion, testNow, body, b.draft)
	again.once.key = "again"
	if err := decode(again); err != nil || len(again.records) != len(b.records) {
		t.Fatalf("again: %v", err)
	}
	for i, data := range again.records {
		if !bytes.Equal(data, b.records[i]) {
			t.Errorf("a retry gives\n%s\nafter\n%s", data, b.records[i])
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e+3,"x\u00e9\n",null,true]}`, ` [ { } , [ ] ] `, `"\ud83d\ude00"`, `{"\ud800":NaN,"\udfff":[-Infinity,"\ud800\u0020"]}`, `1e`, "[\"\x01\"]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &scanner{data: text}
		value, err := s.value()
		if err == nil {
			err = s.end()
		}
		// json.Valid lets no more than 10,000 levels pass.
		if valid := json.Valid(text); valid != (err == nil) && s.depth < 10_000 && !s.odd {
			t.Fatalf("%v, json.Valid says %v", err, valid)
		}
		if err != nil {
			return
		}
		var want bytes.Buffer
		if json.Compact(&want, value) == nil && !bytes.Equal(appendCompact(nil, value), want.Bytes()) {
			t.Fatalf("compact: %s", appendCompact(nil, value))
		}
		var decoded string
		if value[0] == '"' && utf8.Valid(value) && json.Unmarshal(value, &decoded) == nil {
			if text := unquote(value[1 : len(value)-1]); string(text) != decoded {
				t.Fatalf("unquoted %q, want %q", text, decoded)
			}
		}
		if utf8.Valid(value) && s.depth < maxDepth {
			mended := mend(value)
			after := &scanner{data: mended}
			if _, err := after.value(); !json.Valid(mended) || err != nil || after.odd {
				t.Fatalf("mended %s", mended)
			}
			if again := mend(mended); !bytes.Equal(again, mended) {
				t.Fatalf("mended twice %s, want %s", again, mended)
			}
		}
	})
}

func FuzzTelemetry(f *testing.F) {
	for _, seed := range []string{
		`[{"id":"a","type":"span","timestamp":"2026-11-23T10:00:00.5Z","x":{"y":[1,2]}},1,{"type":"Log","timestamp":1795428000000.25}]`,
		`{"type":"log","\u0069d":"a","tenant":1}`, `{"type":"log","_id":1,"a..b":2,"Tenant":3,"status":{".":NaN,"code":1},"startTimestamp":1e12,"\ud800":1}`, "{\"type\":\"a\"}\n\n{\"type\":\n{\"type\":\"b\",\"timestamp\":{ }}\r\n",
		`[{"type":"log","timestamp":"x","original_timestamp":1}]`, "[{\"type\":\"\xff\"}]",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		decodeFuzzed(t, telemetrySniffed, body)
		if lines {
			decodeFuzzed(t, telemetryLines, body)
		} else {
			decodeFuzzed(t, telemetryArray, body)
		}
	})
}

func FuzzThundra(f *testing.F) {
	for _, seed := range []string{
		thundraPost, `{"type":"Composite","data":{"a":1,"allMonitoringData":[{"type":"Span","a":2},{"id":"x"},3],"b":{}}}`,
		`[{"type":"Span","data":{"id":1,"startTimestamp":"x","tenant":"y"}}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { decodeFuzzed(t, thundra, body) })
}

// FuzzOTLP decodes each body as each signal, in both encodings.
func FuzzOTLP(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.asJSON)
		f.Add(s.asProto)
	}
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[{"key":"a"},{"key":"a"}]}}}]}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, s := range signals {
			decodeFuzzed(t, s.decode(true), body)
			decodeFuzzed(t, s.decode(false), body)
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, encoding := range []string{"gzip", "zstd"} {
		f.Add(compressed(f, encoding, []byte(oneRecord)), encoding)
		f.Add(compressed(f, encoding, bytes.Repeat([]byte("x"), 1<<16)), encoding)
	}
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		const limit = 1 << 10
		request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		request.Header.Set("Content-Encoding", encoding)
		held := &share{room: newRoom(Limits{BodyBytes: limit}.withDefaults())}
		got, refused := readBody(httptest.NewRecorder(), request, limit, held, &bill{account: &account{now: time.Now}}, make(slots, 1))
		if (refused == nil && len(got) > limit) || cap(got) > 2*limit || (refused != nil && (refused.reason == "" || refused.status < 400)) {
			t.Errorf("%d bytes, %d in memory, refused: %v", len(got), cap(got), refused)
		}
		if held.giveBack(); held.room.left != DefaultRequestBytes {
			t.Errorf("%d bytes of room are left", held.room.left)
		}
	})
}
