package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

func ask(method, host, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(method, path, nil)
	request.Host = host
	Handler(New(Settings{Stream: "telemetry"}, Sources{}).State).ServeHTTP(recorder, request)
	return recorder
}

func TestOnlyGetIsAnswered(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/state", "/console.mjs"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodHead, "PROPFIND"} {
			if got := ask(method, "localhost", path); got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != http.MethodGet {
				t.Errorf("%s %s answered %d", method, path, got.Code)
			}
		}
		if got := ask(http.MethodGet, "localhost", path); got.Code != http.StatusOK || got.Body.Len() == 0 {
			t.Errorf("GET %s answered %d", path, got.Code)
		}
	}
	if got := ask(http.MethodGet, "localhost", "/etc/passwd"); got.Code != http.StatusNotFound {
		t.Errorf("what is not there answered %d", got.Code)
	}
}

func TestOnlyNamesOfThisMachineAreAnswered(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:8088": 200, "127.0.0.1:8088": 200, "127.9.9.9": 200, "[::1]:9": 200, "[::1]": 200,
		"evil.example": 403, "evil.example:8088": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "10.0.0.1": 403, "0.0.0.0:8088": 403, "": 403,
	} {
		for _, path := range []string{"/", "/state"} {
			got := ask(http.MethodGet, host, path)
			if got.Code != want {
				t.Errorf("%s%s answered %d, want %d", host, path, got.Code, want)
			}
			if want == 403 && strings.Contains(got.Body.String(), "telemetry") {
				t.Errorf("%s%s shows the pipeline: %s", host, path, got.Body)
			}
		}
	}
}

func TestNothingButThePageItselfMayRunInIt(t *testing.T) {
	t.Parallel()
	got := ask(http.MethodGet, "localhost", "/")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} {
		if policy := got.Header().Get("Content-Security-Policy"); !strings.Contains(policy, want) || strings.Contains(policy, "unsafe") {
			t.Errorf("the policy is %s", policy)
		}
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "",
	} {
		if has := got.Header().Get(name); has != want {
			t.Errorf("%s is %q", name, has)
		}
	}
	for path, kind := range map[string]string{"/": "text/html", "/console.css": "text/css", "/console.mjs": "text/javascript", "/icon.svg": "image/svg", "/state": "application/json"} {
		if has := ask(http.MethodGet, "localhost", path).Header().Get("Content-Type"); !strings.HasPrefix(has, kind) {
			t.Errorf("%s is %s", path, has)
		}
	}
}

// TestPageIsSmallAndWholeByItself: it loads nothing from elsewhere, and makes no markup of text.
func TestPageIsSmallAndWholeByItself(t *testing.T) {
	t.Parallel()
	size := 0
	elsewhere := regexp.MustCompile(`(?:src|href|from|import|url\()\s*[=(]?\s*["']?(?:https?:)?//`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|<script>|style="|\son[a-z]+="`)
	err := fs.WalkDir(embedded, "page", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := embedded.ReadFile(path)
		size += len(text)
		if found := elsewhere.Find(text); found != nil {
			t.Errorf("%s loads from elsewhere: %s", path, found)
		}
		if found := markup.Find(text); found != nil {
			t.Errorf("%s has %s", path, found)
		}
		return err
	})
	if err != nil || size > MostPage || size < MostPage/4 {
		t.Errorf("the page has %d bytes, of at most %d: %v", size, MostPage, err)
	}
	t.Logf("the page has %d bytes", size)
}

func TestStateIsJSONWithoutNullLists(t *testing.T) {
	t.Parallel()
	var got map[string]json.RawMessage
	if err := json.Unmarshal(ask(http.MethodGet, "localhost", "/state").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"problems", "processes", "regions", "ways"} {
		if text := string(got[list]); !strings.HasPrefix(text, "[") {
			t.Errorf("%s is %s", list, text)
		}
	}
}

func TestAddressesThatOthersReachAreRefused(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"127.0.0.1:8088": true, "127.1.2.3:0": true, "[::1]:8088": true, "localhost:8088": true,
		"0.0.0.0:8088": false, ":8088": false, "[::]:8088": false, "10.0.0.1:8088": false, "example.com:80": false, "8088": false, "": false,
	} {
		if err := CheckAddress(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestCopiedCommandsMeanThemselves to a real shell, whatever is in them.
func TestCopiedCommandsMeanThemselves(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"document_parsing_exception", "two words", "it's", "$(touch x)", "`id`", `a"b\c`, "a;b|c&d", "*", "", "-n", "ä"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+Quote(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q is %q to a shell: %v", text, out, err)
		}
	}
	if got := Quote("a\x1b[2J\n\u202eb"); got != "'a[2Jb'" {
		t.Errorf("control characters stay: %q", got)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, server.Listener, Handler(New(Settings{}, Sources{}).State)) }()
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	response, err := client.Get(fmt.Sprintf("http://%s/state", server.Listener.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	stop()
	if err := <-ended; err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("it answered %s, and ended with %v", response.Status, err)
	}
}
