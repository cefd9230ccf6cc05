package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/keyfile"
	"millrace/internal/requestid"
)

func TestAuthorization(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	const unknown = "mr_abcdefgh_abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst"
	for _, test := range []struct {
		name          string
		authorization string
		header        string
		status        int
	}{
		{"ApiKey", "ApiKey " + c.key, "", 202},
		{"Bearer", "Bearer " + c.key, "", 202},
		{"a scheme in other case", "apikey  " + c.key, "", 202},
		{"x-api-key", "", c.key, 202},
		{"x-api-key beside another scheme", "Basic eA==", c.key, 202},
		{"no key", "", "", 401},
		{"an unknown key", "ApiKey " + unknown, "", 401},
		{"a key without a scheme", c.key, "", 401},
		{"the id with another secret", "ApiKey " + c.key[:len(c.key)-1] + "!", "", 401},
		{"half a key", "ApiKey " + c.key[:12], "", 401},
		{"an unknown key before a good one", "ApiKey " + unknown, c.key, 401},
	} {
		r := c.postText(t, "/v1/telemetry", oneRecord, "Authorization", test.authorization, "X-Api-Key", test.header)
		if r.status != test.status {
			t.Errorf("%s: answered %d %s, want %d", test.name, r.status, r.body, test.status)
		}
		if r.status == 401 && (r.header.Get("WWW-Authenticate") == "" || r.Error == "") {
			t.Errorf("%s: 401 without a challenge or a reason: %v %s", test.name, r.header, r.body)
		}
	}
	if got := len(c.stream.take(t)); got != 5 {
		t.Errorf("%d posts came through, want 5", got)
	}
}

func TestBadRequestsAreRefusedAsWhole(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{BodyBytes: 4096, Records: 3})
	four := "[" + strings.Repeat(`{"type":"log"},`, 3) + `{"type":"log"}]`
	for _, test := range []struct {
		name, body string
		headers    []string
		status     int
	}{
		{"a form", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"a media type that is none", "[]", []string{"Content-Type", ";;"}, 415},
		{"an unknown encoding", "[]", []string{"Content-Encoding", "br"}, 415},
		{"two encodings", "[]", []string{"Content-Encoding", "gzip, gzip"}, 415},
		{"two encodings, one of them twice named", "[]", []string{"Content-Encoding", "zstd, x-gzip"}, 415},
		{"parameters without a media type", "[]", []string{"Content-Type", "; charset=utf-8"}, 415},
		{"no gzip", "[]", []string{"Content-Encoding", "gzip"}, 400},
		{"no zstd", "[]", []string{"Content-Encoding", "zstd"}, 400},
		{"nothing", "", []string{"Content-Type", "application/json"}, 400},
		{"half an array", `[{"type":"log"}`, nil, 400},
		{"an array and more", oneRecord + "[]", nil, 400},
		{"records without a comma", `[{"type":"log"} {"type":"log"}]`, nil, 400},
		{"no good record", `[1]`, nil, 400},
		{"too large", `["` + strings.Repeat("x", 5000) + `"]`, nil, 413},
		{"too many records, none of them good", "[1,2,3,4]", nil, 400},
		{"too many records, and half an array", strings.TrimSuffix(four, "]"), nil, 400},
	} {
		r := c.postText(t, "/v1/telemetry", test.body, test.headers...)
		if r.status != test.status || r.Error == "" {
			t.Errorf("%s: answered %d %s, want %d with a reason", test.name, r.status, r.body, test.status)
		}
	}
	if got := c.stream.take(t); len(got) > 0 {
		t.Errorf("of refused requests came through: %v", got)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/v1/telemetry", 405}, {http.MethodPut, "/v1/monitoring-data", 405}, {http.MethodOptions, "/v1/telemetry", 405},
		{http.MethodGet, "/v1/traces/", 405}, {http.MethodDelete, "//v1/logs", 405},
		{http.MethodPost, "/", 404}, {http.MethodPost, "/v1", 404}, {http.MethodPost, "/v1/telemetry/x", 404}, {http.MethodPost, "/v1/./telemetry", 404},
		{http.MethodPost, "", 404}, {http.MethodGet, "/v2", 404}, {http.MethodOptions, "/v2", 404},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, c.http.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := c.do(t, request)
		text := r.Error + string(r.body) // of OTLP it is a status
		if r.status != test.status || text == "" || (r.status == 405 && r.header.Get("Allow") != "POST") {
			t.Errorf("%s %s: answered %d %v %s, want %d", test.method, test.path, r.status, r.header, r.body, test.status)
		}
	}
}

func TestCompressedAndChunkedBodiesAreRead(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for range 3 { // so that pooled decoders are used again
		for _, encoding := range []string{"gzip", "zstd", "GZIP"} {
			body := compressed(t, strings.ToLower(encoding), []byte(oneRecord))
			chunked := struct{ io.Reader }{bytes.NewReader(body)} // of unknown length
			if r := c.post(t, "/v1/telemetry", chunked, "Content-Encoding", encoding); r.status != 202 || r.Accepted != 1 {
				t.Errorf("%s, chunked: answered %d %s", encoding, r.status, r.body)
			}
			if r := c.post(t, "/v1/telemetry", bytes.NewReader(body[:len(body)-3]), "Content-Encoding", encoding); r.status != 400 {
				t.Errorf("%s, cut off: answered %d %s", encoding, r.status, r.body)
			}
		}
	}
	if r := c.post(t, "/v1/telemetry", struct{ io.Reader }{strings.NewReader(oneRecord)}); r.status != 202 {
		t.Errorf("chunked: answered %d %s", r.status, r.body)
	}
	if got := len(c.stream.take(t)); got != 10 {
		t.Errorf("%d records came through, want 10", got)
	}
}

// A bomb unpacks to a thousand times its size. It must be cut off at the
// limit, whichever way its size is hidden.
func TestDecompressionBombsAreCutOff(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	bomb := bytes.Repeat([]byte(" "), 200<<20)
	for _, encoding := range []string{"gzip", "zstd"} {
		body := compressed(t, encoding, bomb)
		if len(body) > 1<<20 {
			t.Fatalf("the %s bomb has %d bytes", encoding, len(body))
		}
		r := c.post(t, "/v1/telemetry", bytes.NewReader(body), "Content-Encoding", encoding)
		if r.status != 413 {
			t.Errorf("a %s bomb: answered %d %s", encoding, r.status, r.body)
		}
		request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		request.Header.Set("Content-Encoding", encoding)
		held := &share{room: newRoom(Limits{}.withDefaults())}
		if _, refused := readBody(httptest.NewRecorder(), request, DefaultBodyBytes, held, &bill{account: &account{now: time.Now}}, make(slots, 1)); refused == nil || held.held.bytes > 2*DefaultBodyBytes {
			t.Errorf("a %s bomb takes %d bytes, refused: %v", encoding, held.held.bytes, refused)
		}
	}
}

// TestRequestsInHandAreBounded holds one request before the stream, and posts
// others that there is no room for beside it.
func TestRequestsInHandAreBounded(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{BodyBytes: 2 * len(oneRecord), RequestBytes: 2*len(oneRecord) + 2*recordOverhead + 50})
	arrived, leave := make(chan struct{}), make(chan struct{})
	c.ingester = ingestFunc(func(context.Context, [][]byte) error {
		arrived <- struct{}{}
		<-leave
		return nil
	})
	first := make(chan reply)
	go func() { first <- c.postText(t, "/v1/telemetry", strings.Repeat(" ", len(oneRecord))+oneRecord) }()
	<-arrived
	for name, r := range map[string]func() reply{
		"of known size": func() reply { return c.postText(t, "/v1/telemetry", oneRecord) },
		"chunked": func() reply {
			return c.post(t, "/v1/telemetry", io.MultiReader(strings.NewReader(oneRecord)))
		},
		"packed": func() reply {
			return c.post(t, "/v1/telemetry", bytes.NewReader(compressed(t, "gzip", []byte(oneRecord))), "Content-Encoding", "gzip")
		},
	} {
		if r := r(); r.status != 503 || r.header.Get("Retry-After") != "1" {
			t.Errorf("%s: answered %d %s", name, r.status, r.body)
		}
	}
	close(leave)
	if r := <-first; r.status != 202 {
		t.Errorf("the first was answered %d %s", r.status, r.body)
	}
	c.http.Close() // and with that every handler has returned
	if left := c.room.left; left != int64(c.limits.RequestBytes) {
		t.Errorf("%d bytes of room are left of %d", left, c.limits.RequestBytes)
	}
}

func TestRequestAtLimitIsAccepted(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{BodyBytes: len(oneRecord), Records: 1})
	if r := c.postText(t, "/v1/telemetry", oneRecord); r.status != 202 {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	if r := c.postText(t, "/v1/telemetry", " "+oneRecord); r.status != 413 {
		t.Errorf("one byte more: answered %d %s", r.status, r.body)
	}
}

func TestUndurableRecordsAreNotAccepted(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	c.stream.err = errors.New("secret details of the network")
	for _, path := range []string{"/v1/telemetry", "/v1/monitoring-data"} {
		body := oneRecord
		if path != "/v1/telemetry" {
			body = `[{"type":"Span","data":{"id":"a"}}]`
		}
		r := c.postText(t, path, body)
		if r.status != 503 || r.header.Get("Retry-After") != "1" || strings.Contains(r.Error, "secret") {
			t.Errorf("%s: answered %d %v %s", path, r.status, r.header, r.body)
		}
	}
	// What has nothing to be made durable is no outage.
	if r := c.postText(t, "/v1/telemetry", "[]"); r.status != 202 || r.Accepted != 0 {
		t.Errorf("an empty array: answered %d %s", r.status, r.body)
	}
}

func TestTenantsAreHeldToTheirRate(t *testing.T) {
	t.Parallel()
	c, _ := timed(t, Limits{TenantRate: 0.5, TenantBurst: 4})
	three := `[{"type":"log"},{"type":"log"},{"type":"log"}]`
	if r := c.postText(t, "/v1/telemetry", three); r.status != 202 {
		t.Fatalf("within the burst: answered %d %s", r.status, r.body)
	}
	// One is left: three more take four seconds.
	r := c.postText(t, "/v1/telemetry", three)
	if r.status != 429 || r.header.Get("Retry-After") != "4" {
		t.Errorf("beyond the burst: answered %d %v", r.status, r.header)
	}
	if r := c.postText(t, "/v1/telemetry", oneRecord); r.status != 202 {
		t.Errorf("what was refused has cost something: answered %d %s", r.status, r.body)
	}
	// Nothing is left: refused unread, so the syntax is not judged.
	if r := c.postText(t, "/v1/telemetry", "{"); r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("an exhausted tenant: answered %d %s", r.status, r.body)
	}
	other, err := keyfile.Create(c.keys, "other")
	if err != nil {
		t.Fatal(err)
	}
	c.Server.keys.checked.Store(0)
	// More than the burst could never come in if it had to fit.
	if r := c.postText(t, "/v1/telemetry", "["+strings.Repeat(`{"type":"log"},`, 9)+`{"type":"log"}]`, "Authorization", "Bearer "+other); r.status != 202 {
		t.Errorf("another tenant: answered %d %s", r.status, r.body)
	}
}

// Metrics are read by people who may not know who the customers are.
func TestMetricsCountRecordsWithoutNamingTenants(t *testing.T) {
	c := newCollector(t, Limits{}) // alone, since the metrics are the process's
	value := func(name string) float64 {
		t.Helper()
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				text := family.GetName()
				for _, label := range metric.GetLabel() {
					text += " " + label.GetValue()
					if strings.Contains(label.GetValue(), testTenant) || strings.Contains(label.GetValue(), c.key) {
						t.Errorf("%s names a tenant: %s", family.GetName(), label)
					}
				}
				if text == name {
					return metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
				}
			}
		}
		return 0
	}
	if value("millrace_api_region "+testRegion) != 1 {
		t.Error("the metrics do not name the region")
	}
	names := []string{
		"millrace_api_records_total telemetry accepted", "millrace_api_records_total telemetry rejected", "millrace_api_records_total telemetry unavailable",
		"millrace_api_records_total telemetry unread", "millrace_api_record_times_total usable", "millrace_api_record_times_total missing",
		"millrace_api_record_times_total out_of_bounds", "millrace_api_request_seconds telemetry 202", "millrace_api_request_seconds telemetry 401",
		"millrace_api_request_bytes_total telemetry",
	}
	var before []float64
	for _, name := range names {
		before = append(before, value(name))
	}
	mixed := `[{"type":"log","timestamp":"2026-11-23T10:00:00Z"},{"type":"log"},{"type":"log","timestamp":1},7]`
	c.postText(t, "/v1/telemetry", mixed)
	c.postText(t, "/v1/telemetry", mixed, "Authorization", "")
	c.postText(t, "/v1/telemetry", mixed[:len(mixed)-1])
	c.stream.err = errors.New("out of order")
	c.postText(t, "/v1/telemetry", mixed)
	size := float64(len(mixed))
	for i, want := range []float64{3, 1, 4, 4, 1, 1, 1, 1, 1, 3*size - 1} {
		if got := value(names[i]) - before[i]; got != want {
			t.Errorf("%s went up by %v, want %v", names[i], got, want)
		}
	}
}

func TestServerTimesOutSlowClients(t *testing.T) {
	t.Parallel()
	server := (&Server{}).HTTP(http.NotFoundHandler())
	for name, timeout := range map[string]time.Duration{
		"head": server.ReadHeaderTimeout, "body": server.ReadTimeout, "answer": server.WriteTimeout, "idle": server.IdleTimeout,
	} {
		if timeout <= 0 {
			t.Errorf("no timeout for: %s", name)
		}
	}
}

func TestStoppedServerFinishesRequestsInHand(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	held := make(chan struct{})
	entered := make(chan struct{})
	c.ingester = ingestFunc(func(ctx context.Context, records [][]byte) error {
		close(entered)
		<-held
		_, err := c.stream.Ingest(ctx, "tenant", records)
		return err
	})
	answered := make(chan reply)
	go func() { answered <- c.postText(t, "/v1/telemetry", oneRecord) }()
	<-entered
	stopped := make(chan error)
	go func() { stopped <- c.http.Config.Shutdown(t.Context()) }()
	address := c.http.Listener.Addr().String()
	for deadline := time.Now().Add(10 * time.Second); ; { // until no new request is admitted
		connection, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		_ = connection.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still takes connections")
		}
	}
	select {
	case err := <-stopped:
		t.Errorf("the server stopped while it had a request: %v", err)
	default:
	}
	close(held)
	if r := <-answered; r.status != 202 {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

type ingestFunc func(context.Context, [][]byte) error

func (f ingestFunc) Ingest(ctx context.Context, _ string, records [][]byte) ([]requestid.Batch, error) {
	return nil, f(ctx, records)
}
