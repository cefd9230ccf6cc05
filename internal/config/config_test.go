package config_test

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"millrace/internal/config"
)

// What stands in Temporal's own variables is how it is reached.
func TestTemporalIsReachedOverTLS(t *testing.T) {
	asked := make(chan string, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path + " " + r.Header.Get("Authorization"):
		default:
		}
		w.WriteHeader(http.StatusNotImplemented)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEMPORAL_ADDRESS", server.Listener.Addr().String())
	t.Setenv("TEMPORAL_TLS", "true")
	t.Setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", authority)
	t.Setenv("TEMPORAL_API_KEY", "the-key")
	client, err := config.DialLazily(slog.New(slog.DiscardHandler), config.Versioning{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	go func() { _ = config.CheckTemporal(t.Context(), client) }() // there is no Temporal behind it
	select {
	case got := <-asked:
		if want := "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo Bearer the-key"; got != want {
			t.Errorf("it asks %q, want %q", got, want)
		}
	case <-time.After(30 * time.Second):
		t.Error("no request came over TLS")
	}
}
