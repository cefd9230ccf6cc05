// Package faultproxy stands between a client and an HTTP service and does to
// their calls what networks and services do: it refuses some, takes part of a
// batch, answers late, half or not at all, also after the service has done
// what it was asked.
//
// Rules say what happens to which calls; they are switched while calls run.
// The proxy keeps a log of every fault, since a test that saw no fault proves
// nothing.
package faultproxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Rule says what happens to calls. The first rule that matches a call decides.
type Rule struct {
	Name string // stands in the log

	// Operation and Path choose calls: the end of X-Amz-Target (PutRecords),
	// and the beginning of the URL's path (/_bulk). Empty ones match all.
	Operation, Path string
	// Method chooses calls by HTTP's; empty: all.
	Method string
	// Share of those calls, 0 to 1; 0 means all.
	Share float64
	// Times the rule is applied, at most; 0 means always.
	Times int
	// AtLeast is the size in bytes of the bodies that it is for, and Holds a
	// text in them.
	AtLeast int64
	Holds   string

	Fault Fault
}

// Fault does something to a call, and says to how many entries of a batch;
// nothing says that it let the call pass.
type Fault interface {
	serve(w http.ResponseWriter, r *http.Request, forward http.Handler) (entries int)
}

// nothing is what a choosing fault says of a call that it passed.
const nothing = -1

// Event is a fault that happened.
type Event struct {
	At        time.Time
	Rule      string
	Operation string // or the path, for calls that have none
	Entries   int    // of a batch that were rejected
}

// Proxy is a running proxy.
type Proxy struct {
	server   *http.Server
	listener net.Listener
	forward  *httputil.ReverseProxy

	mu    sync.Mutex
	rules []*Rule
	log   []Event
	calls int
}

// Route sends the calls of one service of AWS, by the beginning of
// X-Amz-Target (Kinesis_20131202), to an address of its own.
type Route struct{ Service, Target string }

// Start runs a proxy in front of a service on a free port of the loopback
// interface. It passes everything until Set is called.
func Start(ctx context.Context, target string, routes ...Route) (*Proxy, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("read the target's address: %w", err)
	}
	others := map[string]*url.URL{}
	for _, route := range routes {
		if others[route.Service], err = url.Parse(route.Target); err != nil {
			return nil, fmt.Errorf("read the target's address: %w", err)
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 128} // packing is the client's business
	p := &Proxy{listener: listener, forward: &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			service, _, _ := strings.Cut(r.In.Header.Get("X-Amz-Target"), ".")
			to := cmp.Or(others[service], to)
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
		},
		// The service is away: so is the connection.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() { _ = p.server.Serve(listener) }() // ends with Close
	return p, nil
}

// URL is where clients of the service go.
func (p *Proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Close ends the proxy and all its connections.
func (p *Proxy) Close() error {
	if err := p.server.Close(); err != nil {
		return fmt.Errorf("close the proxy: %w", err)
	}
	return nil
}

// Set replaces the rules. Without any, everything passes. Faults that hold
// calls back go on until their time is over.
func (p *Proxy) Set(rules ...Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
	for _, rule := range rules {
		p.rules = append(p.rules, &rule)
	}
}

// Log returns the faults that happened, in order.
func (p *Proxy) Log() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

// Count returns how often a rule was applied, and how many entries of batches
// it rejected.
func (p *Proxy) Count(rule string) (times, entries int) {
	for _, e := range p.Log() {
		if e.Rule == rule {
			times++
			entries += e.Entries
		}
	}
	return times, entries
}

// Calls returns how many calls have come in all.
func (p *Proxy) Calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// ServeHTTP passes a call on, or does to it what a rule says.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := r.Header.Get("X-Amz-Target")
	operation = operation[strings.LastIndexByte(operation, '.')+1:]
	rule := p.choose(operation, r)
	if rule == nil {
		p.forward.ServeHTTP(w, r)
		return
	}
	event := Event{At: time.Now(), Rule: rule.Name, Operation: operation}
	if operation == "" {
		event.Operation = r.URL.Path
	}
	// Faults may end in a panic that breaks the connection.
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if event.Entries != nothing {
			p.log = append(p.log, event)
		}
	}()
	event.Entries = rule.Fault.serve(w, r, p.forward)
}

func (p *Proxy) choose(operation string, r *http.Request) *Rule {
	p.mu.Lock()
	p.calls++
	rules := p.rules
	p.mu.Unlock()
	body := ""
	if slices.ContainsFunc(rules, func(rule *Rule) bool { return rule.Holds != "" }) {
		text := readBody(r) // without the lock: it may come slowly
		r.Body = io.NopCloser(bytes.NewReader(text))
		body = string(text)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rule := range rules {
		if (rule.Operation != "" && rule.Operation != operation) || (rule.Method != "" && rule.Method != r.Method) || !strings.HasPrefix(r.URL.Path, rule.Path) || r.ContentLength < rule.AtLeast {
			continue
		}
		if !strings.Contains(body, rule.Holds) {
			continue
		}
		if rule.Share > 0 && rand.Float64() >= rule.Share {
			continue
		}
		if rule.Times < 0 {
			continue
		}
		if rule.Times > 0 {
			if rule.Times--; rule.Times == 0 {
				rule.Times = -1 // used up
			}
		}
		return rule
	}
	return nil
}

// errNotABatch says that a fault met a call that it cannot divide.
var errNotABatch = errors.New("no batch that this fault knows")
