package api

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"millrace/deploy/local"
	"millrace/internal/ops"
	"millrace/internal/requestid"
	"millrace/internal/telemetry"
)

const schemathesisVersion = "4.32.5" // on PyPI

// The description and the routes must know the same paths and media types.
func TestOpenAPICoversEveryRoute(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var described struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]any
			} `yaml:"requestBody"`
			Responses map[string]any
		}
	}
	if err := yaml.Unmarshal(text, &described); err != nil {
		t.Fatal(err)
	}
	for _, r := range routes() {
		operation, ok := described.Paths[r.path]["post"]
		if !ok {
			t.Errorf("%s is not described", r.path)
			continue
		}
		want := slices.DeleteFunc(slices.Sorted(maps.Keys(r.forms)), func(mediaType string) bool { return mediaType == "" })
		if got := slices.Sorted(maps.Keys(operation.RequestBody.Content)); !slices.Equal(got, want) {
			t.Errorf("%s is described to take %v, and takes %v", r.path, got, want)
		}
		delete(described.Paths, r.path)
	}
	if got := slices.Sorted(maps.Keys(described.Paths)); !slices.Equal(got, []string{"/healthz", "/metrics", "/readyz"}) {
		t.Errorf("beside what takes telemetry is described %v", got)
	}
}

// judge is an Ingester that looks at each record.
type judge struct {
	t       *testing.T
	mu      sync.Mutex
	records int
}

func (j *judge) Ingest(_ context.Context, _ string, records [][]byte) ([]requestid.Batch, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, data := range records {
		j.records++
		r, err := telemetry.Parse(data)
		if err != nil || len(data) > telemetry.MaxRecordSize {
			j.t.Errorf("the stream cannot read %q: %v", data, err)
			continue
		}
		document := decodeStrictly(j.t, data)
		id, _ := document["id"].(string)
		if telemetry.NewDocID(testTenant, ownIndex(r), id) != r.DocID || id == "" || document["tenant"] != testTenant {
			j.t.Errorf("the head is wrong: %s", data)
		}
	}
	return nil, nil
}

// answers counts what a handler answers, by path and status.
type answers struct {
	http.Handler
	mu     sync.Mutex
	counts map[string]map[int]int
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := &statusWriter{ResponseWriter: w}
	a.Handler.ServeHTTP(status, r)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counts[r.URL.Path] == nil {
		a.counts[r.URL.Path] = map[int]int{}
	}
	a.counts[r.URL.Path][status.status]++
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Schemathesis posts what the description allows and what it does not, with
// and without keys, and compares the answers with the description.
func TestServerConformsToOpenAPI(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("posts thousands of requests")
	}
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	packages, interpreter, err := local.InstallPython(t.Context(), root, nil, "schemathesis", schemathesisVersion, "schemathesis=="+schemathesisVersion)
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector(t, Limits{})
	j := &judge{t: t}
	c.ingester = j
	mux := http.NewServeMux()
	probes := ops.Probes(ops.Checks{})
	mux.Handle("/healthz", probes)
	mux.Handle("/readyz", probes)
	mux.Handle("/metrics", ops.Handler(ops.Checks{}))
	mux.Handle("/", c.Handler())
	seen := &answers{Handler: mux, counts: map[string]map[int]int{}}
	server := httptest.NewServer(seen)
	defer server.Close()

	if _, err := os.ReadDir("testdata"); err != nil { // a result counts for these files, which only the other program reads
		t.Fatal(err)
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter, "-m", "schemathesis.cli", "--no-color",
		"--config-file", filepath.Join(here, "testdata", "schemathesis.toml"),
		"run", filepath.Join(here, "openapi.yaml"), "--url", server.URL, "--header", "Authorization: ApiKey "+c.key,
		"--phases", "examples,coverage,fuzzing", "--mode", "all", "--checks", "all",
		"--max-examples", "15", "--generation-deterministic", "--warnings", "off", "--suppress-health-check", "all") // they judge how fast this machine makes data
	cmd.Dir = t.TempDir() // where it leaves its files
	cmd.Env = append(os.Environ(), "PYTHONPATH="+packages+string(os.PathListSeparator)+filepath.Join(here, "testdata"),
		"SCHEMATHESIS_HOOKS=hooks", "PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=*")
	if output, err := cmd.CombinedOutput(); err != nil { // it exits with 1 at a failed check
		t.Errorf("%v\n%s", err, output)
	}
	for path, statuses := range map[string][]int{
		"/v1/telemetry": {202, 400, 401, 405, 415}, "/v1/monitoring-data": {200, 400, 401, 405, 415},
		"/v1/composite-monitoring-data": {200, 400, 401, 405, 415}, "/v1/traces": {200, 400, 401, 405, 415},
		"/v1/logs": {200, 400, 401, 405, 415}, "/v1/metrics": {200, 400, 401, 405, 415},
		"/healthz": {200}, "/readyz": {200}, "/metrics": {200},
	} {
		for _, status := range statuses {
			if seen.counts[path][status] == 0 {
				t.Errorf("no request to %s was answered %d: %v", path, status, seen.counts[path])
			}
		}
	}
	if j.records < 100 {
		t.Errorf("only %d records came through", j.records)
	}
	t.Logf("%d records came through; answers: %v", j.records, seen.counts)
}
