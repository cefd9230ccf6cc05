// Package tap stands between an indexer and Elasticsearch, and sees when a
// document is saved, by the test's own clock.
package tap

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Tap passes everything on, and notes when Elasticsearch has said of a document
// that it is there. So the measure is the same for all, whatever they
// report themselves.
type Tap struct {
	server  *http.Server
	url     string
	forward *httputil.ReverseProxy

	mu      sync.Mutex
	tenant  string // whose documents are noted
	saved   func(Saved)
	broken  error // the first bulk that could not be understood
	looking int   // bulks that are being looked at
	looked  *sync.Cond
}

// Saved is what was seen of one document.
type Saved struct {
	ID       string
	Received time.Time // by the collector
	At       time.Time // when Elasticsearch had answered
	// Before: it was there already. Its sender has not seen the answer.
	Before bool
}

// Start starts a tap before the Elasticsearch at an address.
func Start(ctx context.Context, elasticsearch string) (*Tap, error) {
	to, err := url.Parse(elasticsearch)
	if err != nil {
		return nil, fmt.Errorf("read the address of Elasticsearch: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	t := &Tap{url: "http://" + listener.Addr().String(), forward: &httputil.ReverseProxy{
		Transport: transport, ErrorLog: quiet, // who indexes is killed, and so is Elasticsearch
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host },
	}}
	t.looked = sync.NewCond(&t.mu)
	t.server = &http.Server{Handler: t, ReadHeaderTimeout: time.Minute, ErrorLog: quiet}
	go func() { _ = t.server.Serve(listener) }() // ends with Close
	return t, nil
}

var quiet = log.New(io.Discard, "", 0)

// URL is where those who are watched find Elasticsearch.
func (t *Tap) URL() string { return t.url }

// Close ends the tap.
func (t *Tap) Close() error {
	if err := t.server.Close(); err != nil {
		return fmt.Errorf("close the tap: %w", err)
	}
	return nil
}

// Watch passes every document of a tenant that is found to be saved to a
// function, one at a time, from now on.
func (t *Tap) Watch(tenant string, to func(Saved)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tenant, t.saved = tenant, to
}

// Locked does something while no document is passed on.
func (t *Tap) Locked(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do()
}

// Settle waits until every bulk that was answered has been looked at.
func (t *Tap) Settle() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.looking > 0 {
		t.looked.Wait()
	}
	return t.broken
}

// ServeHTTP passes a request on.
func (t *Tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/_bulk") {
		t.forward.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the caller has gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	kept := &keeper{ResponseWriter: w, status: http.StatusOK}
	t.forward.ServeHTTP(kept, r)
	at := time.Now()
	if kept.status != http.StatusOK {
		return
	}
	t.mu.Lock()
	t.looking++
	t.mu.Unlock()
	go t.look(body, kept.body.Bytes(), at) // the caller need not wait for it
}

// look looks at a bulk that was answered.
func (t *Tap) look(request, answer []byte, at time.Time) {
	err := t.note(request, answer, at)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && t.broken == nil {
		t.broken = fmt.Errorf("understand a bulk: %w", err)
	}
	if t.looking--; t.looking == 0 {
		t.looked.Broadcast()
	}
}

// keeper keeps an answer that it passes on.
type keeper struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader notes the status.
func (k *keeper) WriteHeader(status int) {
	k.status = status
	k.ResponseWriter.WriteHeader(status)
}

// Write keeps a part of the body.
func (k *keeper) Write(p []byte) (int, error) {
	k.body.Write(p)
	return k.ResponseWriter.Write(p)
}

// note looks for what a bulk has created, or has found.
func (t *Tap) note(request, answer []byte, at time.Time) error {
	var answered struct {
		Items []struct{ Create struct{ Status int } }
	}
	if err := json.Unmarshal(answer, &answered); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	lines := bytes.Split(bytes.TrimSuffix(request, []byte{'\n'}), []byte{'\n'})
	if len(lines) != 2*len(answered.Items) {
		return fmt.Errorf("%d lines and %d answers", len(lines), len(answered.Items))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, item := range answered.Items {
		before := item.Create.Status == http.StatusConflict
		if item.Create.Status != http.StatusCreated && !before {
			continue
		}
		var document struct {
			ID         string    `json:"id"`
			Tenant     string    `json:"tenant"`
			ReceivedAt time.Time `json:"received_at"`
		}
		if err := json.Unmarshal(lines[2*i+1], &document); err != nil {
			return fmt.Errorf("decode a document: %w", err)
		}
		if t.saved != nil && document.Tenant == t.tenant {
			t.saved(Saved{document.ID, document.ReceivedAt, at, before})
		}
	}
	return nil
}
