package console

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"
)

//go:embed page
var embedded embed.FS

// MostPage bounds in bytes the page with all that it loads, without the state.
const MostPage = 64 << 10

// policy lets the page load what is beside it, and nothing else: no script or style of its
// own text, so that none of what a tenant wrote can be one.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page, and at /state what it shows, with the delay of /state?region=. It answers GET alone, and only under
// a name of this machine: else a page from elsewhere, whose name is made to lead here, could
// read it (DNS rebinding).
func Handler(state func(region string) State) http.Handler {
	page, err := fs.Sub(embedded, "page")
	if err != nil {
		panic(err) // it is embedded
	}
	files := http.FileServerFS(page)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		switch {
		case r.Method != http.MethodGet:
			header.Set("Allow", http.MethodGet)
			http.Error(w, "the console changes nothing: it answers GET alone", http.StatusMethodNotAllowed)
		case !isLocal(r.Host):
			http.Error(w, "the console answers only under a name of this machine, such as localhost", http.StatusForbidden)
		case r.URL.Path == "/state":
			serveState(w, state(r.URL.Query().Get("region")))
		default:
			files.ServeHTTP(w, r)
		}
	})
}

func serveState(w http.ResponseWriter, s State) {
	text, err := json.Marshal(s)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // the page may have gone
}

// isLocal reports whether a host, with or without a port, names this machine. The port may
// be any: that of a tunnel differs.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// CheckAddress refuses an address that others can reach.
func CheckAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is no address such as 127.0.0.1:8088", address)
	}
	if !isLocal(host) {
		return fmt.Errorf("%s can be reached from other machines, and the console knows no passwords: give an address such as 127.0.0.1:8088, and reach it through a tunnel (ssh -L)", address)
	}
	return nil
}

// Limits of the server: its pages are few, and what they ask is short.
const (
	headWithin  = 5 * time.Second
	writeWithin = 30 * time.Second
	mostHeader  = 16 << 10
)

// Serve serves until the context ends.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headWithin, WriteTimeout: writeWithin, MaxHeaderBytes: mostHeader}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the console: %w", err)
	}
	return nil
}
