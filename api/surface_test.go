package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// pages is a collector that pages of some origins may post to.
func pages(t *testing.T, origins ...string) *collector {
	t.Helper()
	c := newCollector(t, Limits{})
	c.http.Close()
	c.listen(t, New(Settings{Region: testRegion, Origins: origins}, c.Server.keys, c.stream))
	return c
}

const shop = "https://shop.example"

// preflight asks as Chromium does before a page exports traces.
func (c *collector) preflight(t *testing.T, path, origin string, headers ...string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, c.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Origin", origin)
	request.Header.Set("Access-Control-Request-Method", http.MethodPost)
	for _, header := range headers {
		request.Header.Add("Access-Control-Request-Headers", header)
	}
	return c.do(t, request)
}

func TestCORSAnswersPreflight(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/traces", "//v1/logs/", "/v1/telemetry", "/v1/monitoring-data"} {
		r := pages(t, "https://other.example", shop).preflight(t, path, shop, "authorization,content-type")
		want := map[string]string{
			"Access-Control-Allow-Origin": shop, "Access-Control-Allow-Methods": "POST",
			"Access-Control-Allow-Headers": "authorization,content-type", "Access-Control-Max-Age": "7200",
			"Access-Control-Expose-Headers": "", "Access-Control-Allow-Credentials": "",
		}
		for name, value := range want {
			if got := r.header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got, value)
			}
		}
		if vary := r.header.Values("Vary"); r.status != http.StatusNoContent || len(r.body) > 0 ||
			!slices.Equal(vary, []string{"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"}) {
			t.Errorf("%s: answered %d %q, Vary: %q", path, r.status, r.body, vary)
		}
	}
	r := pages(t, "*").preflight(t, "/v1/traces", shop)
	if r.status != http.StatusNoContent || r.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(r.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("to all origins: answered %d %v", r.status, r.header)
	}
}

func TestCORSRefusesOtherOrigins(t *testing.T) {
	t.Parallel()
	c := pages(t, shop)
	for _, origin := range []string{"https://evil.example", "http://shop.example", shop + ":8443", shop + ".evil.example", "null"} {
		if r := c.preflight(t, "/v1/traces", origin); r.status != http.StatusForbidden || r.header.Get("Access-Control-Allow-Origin") != "" || r.header.Get("Vary") == "" {
			t.Errorf("%s: answered %d %v", origin, r.status, r.header)
		}
	}
	if r := c.preflight(t, "/v1/unknown", shop); r.status != http.StatusNotFound {
		t.Errorf("an unknown path: answered %d", r.status)
	}
	// An OPTIONS that is no preflight is a method like any other.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, c.http.URL+"/v1/traces", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := c.do(t, request); r.status != http.StatusMethodNotAllowed {
		t.Errorf("a plain OPTIONS: answered %d", r.status)
	}
}

// A page learns nothing of an answer that does not name its origin: neither why
// it was refused nor when to come again.
func TestCORSLetsPagesReadEveryAnswer(t *testing.T) {
	t.Parallel()
	c := pages(t, shop)
	for name, r := range map[string]reply{
		"taken":        c.postText(t, "/v1/telemetry", oneRecord, "Origin", shop),
		"refused":      c.postText(t, "/v1/telemetry", "[", "Origin", shop),
		"unknown":      c.postText(t, "/v1/telemetry", oneRecord, "Origin", shop, "Authorization", ""),
		"wrong type":   c.postText(t, "/v1/traces", oneRecord, "Origin", shop, "Content-Type", "text/csv"),
		"unknown path": c.postText(t, "/v1", oneRecord, "Origin", shop),
	} {
		if r.header.Get("Access-Control-Allow-Origin") != shop || r.header.Get("Access-Control-Expose-Headers") != "Retry-After, X-Request-Id" || r.header.Get("Vary") != "Origin" {
			t.Errorf("%s: answered %d %v", name, r.status, r.header)
		}
	}
	for name, r := range map[string]reply{
		"another origin": c.postText(t, "/v1/telemetry", oneRecord, "Origin", "https://evil.example"),
		"no browser":     c.postText(t, "/v1/telemetry", oneRecord),
	} {
		if r.status != 202 || r.header.Get("Access-Control-Allow-Origin") != "" || r.header.Get("Vary") != "Origin" {
			t.Errorf("%s: answered %d %v", name, r.status, r.header)
		}
	}
}

func TestCORSIsOffWithoutOrigins(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, r := range []reply{c.preflight(t, "/v1/telemetry", shop), c.postText(t, "/v1/telemetry", oneRecord, "Origin", shop)} {
		for name := range r.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("answered %d with %s", r.status, name)
			}
		}
	}
	if r := c.preflight(t, "/v1/telemetry", shop); r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != "POST" {
		t.Errorf("a preflight: answered %d %v", r.status, r.header)
	}
}

func TestOriginsAreValidated(t *testing.T) {
	t.Parallel()
	if err := (Origins{"*", shop, "http://localhost:3000", "https://[::1]:8443", "chrome-extension://abcdef"}).Validate(); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{
		"", "null", "shop.example", "https://", shop + "/", shop + "/cart", "HTTPS://shop.example", "https://*.shop.example/", shop + ":443",
		"http://shop.example:80", "https://user@shop.example", shop + "?a",
	} {
		if err := (Origins{shop, wrong}).Validate(); err == nil || !strings.Contains(err.Error(), "--cors-origins") || !strings.Contains(err.Error(), fmt.Sprintf("%q", wrong)) {
			t.Errorf("%q gives error %v", wrong, err)
		}
	}
}

// A collector behind a gateway gets a base and a path joined in every way, and
// exporters follow no redirect after a POST.
func TestPathsAreServedHoweverTheyAreJoined(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	c.http.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range []string{"/v1/traces", "//v1/traces", "/v1/traces/", "/v1//traces", "///v1///traces//"} {
		if r := c.postText(t, path, "", "Content-Type", "application/x-protobuf"); r.status != http.StatusOK {
			t.Errorf("%s: answered %d %v", path, r.status, r.header)
		}
	}
	for _, path := range []string{"//v1/telemetry", "/v1/telemetry/", "/v1/monitoring-data/"} {
		if r := c.postText(t, path, "[]"); r.status/100 != 2 {
			t.Errorf("%s: answered %d %v", path, r.status, r.header)
		}
	}
}

func TestHEADIsRefusedLikeGET(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodHead, c.http.URL+"/v1/traces", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.http.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "POST" || len(body) > 0 {
		t.Errorf("answered %s %v %q: %v", response.Status, response.Header, body, err)
	}
}

// What a Content-Type says beside its media type is no reason to refuse data
// (RFC 9110, 8.3.1: type, subtype and parameter names have no case).
func TestMediaTypesAreReadInEveryForm(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, mediaType := range []string{
		"application/json", "Application/JSON; charset=UTF-8", "application/json;charset=utf-8", "application/json;", "application/json ; ",
		"application/json; charset", `application/json; charset="utf-8`, "application/json; charset=utf-8; charset=utf-8", "application/json; =",
		"\tapplication/json", "application/json, application/json",
	} {
		if r := c.postText(t, "/v1/telemetry", oneRecord, "Content-Type", mediaType); r.status != 202 {
			t.Errorf("%q: answered %d %s", mediaType, r.status, r.body)
		}
		if r := c.postText(t, "/v1/logs", "{}", "Content-Type", mediaType); r.status != 200 || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("OTLP, %q: answered %d %s", mediaType, r.status, r.body)
		}
	}
	for _, mediaType := range []string{"Application/X-Protobuf", "application/x-protobuf; messageType=x"} {
		if r := c.postText(t, "/v1/logs", "", "Content-Type", mediaType); r.status != 200 || r.header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%q: answered %d %s", mediaType, r.status, r.body)
		}
	}
	for _, mediaType := range []string{"text/plain", "application/jsonx", "json", "application / json"} {
		if r := c.postText(t, "/v1/telemetry", oneRecord, "Content-Type", mediaType); r.status != 415 {
			t.Errorf("%q: answered %d %s", mediaType, r.status, r.body)
		}
	}
}

func TestEncodingsAreReadInEveryForm(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for encoding, how := range map[string]string{
		"x-gzip": "gzip", "X-GZip": "gzip", "Gzip": "gzip", "gzip, identity": "gzip", "identity,x-gzip": "gzip", " gzip ,": "gzip",
		"ZSTD": "zstd", "identity, zstd": "zstd", "Identity": "", "identity, identity": "", ",": "",
	} {
		body := []byte(oneRecord)
		if how != "" {
			body = compressed(t, how, body)
		}
		if r := c.post(t, "/v1/telemetry", bytes.NewReader(body), "Content-Encoding", encoding); r.status != 202 || r.Accepted != 1 {
			t.Errorf("%q: answered %d %s", encoding, r.status, r.body)
		}
	}
}

// A protobuf request without data has no bytes, and some clients compress that
// too, or say that they did.
func TestEmptyBodyIsEmptyInEveryEncoding(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, encoding := range []string{"", "identity", "gzip", "x-gzip", "zstd"} {
		bodies := map[string][]byte{"no bytes": nil}
		if strings.HasSuffix(encoding, "gzip") {
			bodies["gzip of no bytes"] = compressed(t, "gzip", nil)
		}
		for name, body := range bodies {
			for _, source := range []io.Reader{bytes.NewReader(body), io.MultiReader(bytes.NewReader(body))} { // of known length, and chunked
				if r := c.post(t, "/v1/traces", source, "Content-Type", "application/x-protobuf", "Content-Encoding", encoding); r.status != 200 {
					t.Errorf("%s as %q: answered %d %q", name, encoding, r.status, r.body)
				}
			}
		}
	}
	for _, half := range [][]byte{{0x1f}, compressed(t, "gzip", nil)[:9]} {
		if r := c.post(t, "/v1/traces", bytes.NewReader(half), "Content-Type", "application/x-protobuf", "Content-Encoding", "gzip"); r.status != 400 {
			t.Errorf("%d bytes of a header: answered %d", len(half), r.status)
		}
	}
}

// Exporters drop a batch that is answered 408, and send it again after a 503.
func TestSlowBodyIsAnsweredRetryably(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	c.http.Close()
	c.listenWithin(t, c.Server, 100*time.Millisecond)
	for _, path := range []string{"/v1/logs", "/v1/telemetry", "/v1/monitoring-data"} {
		for _, encoding := range []string{"identity", "gzip", "zstd"} {
			connection, err := net.Dial("tcp", c.http.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			half := []byte(`[{"type":`)
			if encoding != "identity" {
				half = compressed(t, encoding, []byte(oneRecord))[:12]
			}
			fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: c\r\nAuthorization: ApiKey %s\r\nContent-Type: application/json\r\nContent-Encoding: %s\r\nContent-Length: 100\r\n\r\n%s", path, c.key, encoding, half)
			response, err := http.ReadResponse(bufio.NewReader(connection), nil)
			if err != nil {
				t.Errorf("%s %s: %v", path, encoding, err)
			} else {
				if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "1" {
					t.Errorf("%s %s: answered %s %v", path, encoding, response.Status, response.Header)
				}
				_ = response.Body.Close()
			}
			_ = connection.Close()
		}
	}
}
