package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
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
	"millrace/api/ingest"
	"millrace/internal/ops"
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

// freeAddress is one that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestTLSProtectsBothListeners(t *testing.T) {
	t.Parallel()
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	if _, err := api.CreateKey(keyFile, "tenant"); err != nil {
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
	server := api.New(api.Settings{Region: "r"}, keys, &door{})
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

func TestACollectorTakesNothingBeforeItKnowsWhereTo(t *testing.T) {
	t.Parallel()
	d := &door{}
	if err := d.check(t.Context()); err == nil {
		t.Error("it is ready before it has found where records go")
	}
	if err := d.Ingest(t.Context(), nil); !errors.Is(err, ingest.ErrUnavailable) {
		t.Errorf("it takes records before: %v", err)
	}
	d.to.Store(&ingest.Batcher{})
	if err := d.check(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestHalfOfACertificateIsRefused(t *testing.T) {
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

func TestOriginsAreAList(t *testing.T) {
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
func TestAgentsAreNotRedirected(t *testing.T) {
	t.Parallel()
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	if _, err := api.CreateKey(keyFile, "tenant"); err != nil {
		t.Fatal(err)
	}
	keys, err := api.OpenKeys(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	c := &serveCommand{}
	routes := c.routes(api.New(api.Settings{}, keys, &door{}), ops.Checks{})
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
