package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"millrace/api"
	"millrace/api/batching"
	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/internal/keyfile"
	"millrace/internal/ops"
	"millrace/internal/requestid"
)

// certificate writes a certificate for 127.0.0.1 and its key, as operators have
// them, and returns who trusts it.
func certificate(t *testing.T) (certFile, keyFile string, trust *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	trust = x509.NewCertPool()
	trust.AddCert(server.Certificate())
	return write("cert.pem", "CERTIFICATE", server.Certificate().Raw), write("key.pem", "PRIVATE KEY", key), trust
}

// nowhere is an Ingester that takes nothing.
type nowhere struct{}

func (nowhere) Ingest(context.Context, string, [][]byte) ([]requestid.Batch, error) {
	return nil, batching.ErrUnavailable
}

// freeAddress is one without a listener.
func freeAddress(t *testing.T) string {
	t.Helper()
	ports, err := local.ChoosePorts(false, 0) // not one that an outgoing connection may take meanwhile
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
}

func TestTLSProtectsBothListeners(t *testing.T) {
	t.Parallel()
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	if _, err := keyfile.Create(keyFile, "tenant"); err != nil {
		t.Fatal(err)
	}
	keys, err := api.OpenKeys(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	c := &serveCommand{Listen: freeAddress(t), ListenGRPC: freeAddress(t)}
	var trust *x509.CertPool
	c.TLSCert, c.TLSKey, trust = certificate(t)
	secured, err := c.tls()
	if err != nil {
		t.Fatal(err)
	}
	server := api.New(api.Settings{Region: "r"}, keys, nowhere{})
	stop, err := c.serve(server, c.routes(server, ops.Checks{}), secured)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}}}
	get := func(scheme string) (status int, err error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+c.Listen+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	if got, err := get("https"); err != nil || got != http.StatusOK {
		t.Errorf("over TLS: %d, %v", got, err)
	}
	if got, err := get("http"); err == nil && got < 400 {
		t.Errorf("without TLS: %d", got)
	}
	export := func(how credentials.TransportCredentials) error {
		connection, err := grpc.NewClient(c.ListenGRPC, grpc.WithTransportCredentials(how))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = connection.Close() }()
		_, err = ptraceotlp.NewGRPCClient(connection).Export(t.Context(), ptraceotlp.NewExportRequest())
		return err
	}
	if err := export(credentials.NewTLS(&tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12})); status.Code(err) != codes.Unauthenticated {
		t.Errorf("over TLS, without a key: %v", err)
	}
	if err := export(insecure.NewCredentials()); status.Code(err) != codes.Unavailable {
		t.Errorf("without TLS: %v", err)
	}
}

// Agents are strangers: they may ask whether the collector works, not what it lacks.
func TestOperatorsHaveAnAddressOfTheirOwn(t *testing.T) {
	t.Parallel()
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	if _, err := keyfile.Create(keyFile, "tenant"); err != nil {
		t.Fatal(err)
	}
	keys, err := api.OpenKeys(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	away := errors.New("bucket of-the-pipeline is away")
	checks := ops.Checks{Required: map[string]ops.Check{"s3": func(context.Context) error { return away }}}
	c := &serveCommand{Listen: freeAddress(t), ListenOps: freeAddress(t)}
	stopOps, err := c.serveOps(checks)
	if err != nil {
		t.Fatal(err)
	}
	defer stopOps()
	server := api.New(api.Settings{Region: "r"}, keys, nowhere{})
	stop, err := c.serve(server, c.routes(server, checks), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	client := localtest.Client(t)
	for _, want := range []struct {
		url    string
		status int
		body   string // whole; or, with an ellipsis, its beginning
	}{
		{c.Listen + "/healthz", http.StatusOK, `{"alive":true}`},
		{c.ListenOps + "/healthz", http.StatusOK, `{"alive":true}`},
		{c.Listen + "/readyz", http.StatusServiceUnavailable, `{"ready":false}`},
		{c.ListenOps + "/readyz", http.StatusServiceUnavailable, `{"ready":false,"missing":{"s3":"bucket of-the-pipeline is away"}}`},
		{c.Listen + "/metrics", http.StatusOK, "# HELP …"},
		{c.ListenOps + "/metrics", http.StatusOK, "# HELP …"},
		{c.ListenOps + "/v1/telemetry", http.StatusNotFound, "404 page not found"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+want.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		body := strings.TrimSpace(string(answer))
		start, begins := strings.CutSuffix(want.body, "…")
		if err != nil || response.StatusCode != want.status || !strings.HasPrefix(body, start) || (!begins && body != start) {
			t.Errorf("%s answered %d %.200s: %v; want %d %s", want.url, response.StatusCode, body, err, want.status, want.body)
		}
	}
}

func TestServeNeedsNoAddressForOperators(t *testing.T) {
	t.Parallel()
	if c, err := parse(t); err != nil || c.ListenOps != "127.0.0.1:9091" {
		t.Errorf("the default is %q, error %v", c.ListenOps, err)
	}
	c, err := parse(t, "--listen-ops=")
	if err != nil {
		t.Fatal(err)
	}
	stop, err := c.serveOps(ops.Checks{})
	if err != nil {
		t.Fatalf("without an address: %v", err)
	}
	stop()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c.ListenOps = taken.Addr().String()
	if _, err := c.serveOps(ops.Checks{}); err == nil || !strings.Contains(err.Error(), "--listen-ops") {
		t.Errorf("an address that is taken gives error %v", err)
	}
}

func TestServeRefusesCertificateWithoutKey(t *testing.T) {
	t.Parallel()
	c := &serveCommand{TLSCert: "cert.pem"}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "--tls-key") {
		t.Errorf("the error is %v", err)
	}
}

func parse(t *testing.T, args ...string) (serveCommand, error) {
	t.Helper()
	var c serveCommand
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"--keys=keys.json"}, args...))
	return c, err
}

func TestServeTakesListOfOrigins(t *testing.T) {
	t.Parallel()
	if c, err := parse(t); err != nil || len(c.CORSOrigins) > 0 {
		t.Errorf("the default is %v, error %v", c.CORSOrigins, err)
	}
	if c, err := parse(t, "--cors-origins=https://a.example,http://localhost:3000"); err != nil || !slices.Equal(c.CORSOrigins, []string{"https://a.example", "http://localhost:3000"}) {
		t.Errorf("two are taken as %v, error %v", c.CORSOrigins, err)
	}
	if _, err := parse(t, "--cors-origins=https://a.example/"); err == nil || !strings.Contains(err.Error(), "--cors-origins") {
		t.Errorf("a path gives error %v", err)
	}
}

// The program's own routes must not redirect what the server would take.
func TestServeDoesNotRedirectAgents(t *testing.T) {
	t.Parallel()
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	if _, err := keyfile.Create(keyFile, "tenant"); err != nil {
		t.Fatal(err)
	}
	keys, err := api.OpenKeys(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	c := &serveCommand{}
	routes := c.routes(api.New(api.Settings{}, keys, nowhere{}), ops.Checks{})
	for path, want := range map[string]int{
		"//v1/traces": http.StatusUnauthorized, "/v1/logs/": http.StatusUnauthorized, "/v1/../v1/logs": http.StatusNotFound, "/": http.StatusNotFound,
		"/healthz": http.StatusMethodNotAllowed,
	} {
		answer, request := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "http://collector"+path, nil)
		request.Header.Set("Content-Type", "application/json")
		if routes.ServeHTTP(answer, request); answer.Code != want {
			t.Errorf("%s: answered %d, want %d", path, answer.Code, want)
		}
	}
}

func TestQuotasAreOnByDefault(t *testing.T) {
	t.Parallel()
	if c, err := parse(t); err != nil || c.TenantRate != api.DefaultTenantRate || c.TenantBytes != api.DefaultTenantBytes {
		t.Errorf("the defaults are %v records and %v bytes, error %v", c.TenantRate, c.TenantBytes, err)
	}
	if c, err := parse(t, "--limit-rate=0", "--limit-bytes-rate=0"); err != nil || c.TenantRate != 0 || c.TenantBytes != 0 {
		t.Errorf("none is taken as %v records and %v bytes, error %v", c.TenantRate, c.TenantBytes, err)
	}
	if _, err := parse(t, "--limit-bytes-rate=-1"); err == nil || !strings.Contains(err.Error(), "--limit-bytes-rate") {
		t.Errorf("-1 gives error %v", err)
	}
}

func TestKeysCommandSetsQuotas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	run := func(args ...string) error {
		t.Helper()
		parser, err := kong.New(&commands{})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.Parse(append(args, "--keys="+path))
		if err != nil {
			return err
		}
		return parsed.Run()
	}
	expect := func(want map[string][2]float64) {
		t.Helper()
		quotas, err := keyfile.Quotas(path)
		if err != nil || len(quotas) != len(want) {
			t.Errorf("the quotas are %v, %v", quotas, err)
		}
		for tenant, rates := range want {
			if q := quotas[tenant]; q.RecordsRate == nil || q.BytesRate == nil || *q.RecordsRate != rates[0] || *q.BytesRate != rates[1] {
				t.Errorf("the quota of %s is %v, want %v", tenant, q, rates)
			}
		}
	}
	for _, args := range [][]string{
		{"keys", "create", "--tenant=a", "--records-rate=100", "--bytes-rate=0"}, {"keys", "create", "--tenant=b"},
		{"keys", "create", "--tenant=c", "--records-rate=1", "--bytes-rate=1"}, {"keys", "quota", "--tenant=c", "--default"},
		{"keys", "quota", "--tenant=a", "--records-rate=200"}, {"keys", "list"},
		{"keys", "create", "--canary"},
	} {
		if err := run(args...); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	expect(map[string][2]float64{"a": {200, 0}})
	for _, args := range [][]string{
		{"keys", "quota", "--tenant=a"}, {"keys", "quota", "--tenant=a", "--default", "--bytes-rate=1"},
		{"keys", "quota", "--tenant=a", "--bytes-rate=-1"}, {"keys", "create", "--tenant=a", "--records-rate=-1"},
		{"keys", "create"}, {"keys", "create", "--tenant=a", "--canary"}, {"keys", "create", "--tenant=millrace-canary", "--records-rate=1"},
	} {
		if err := run(args...); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	expect(map[string][2]float64{"a": {200, 0}})
}
