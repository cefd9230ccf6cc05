package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"millrace/internal/keyfile"
	"millrace/internal/ops"
)

// remote is a collector or a worker that is to be asked.
type remote struct {
	kind, address string
	readiness     asked[readiness]
}

// name names it without what may be secret in its address.
func (p *remote) name() string { return p.kind + " " + hostOf(p.address) }

const (
	collectors = "collector"
	workers    = "worker"
)

func (e *exam) processes() (all []*remote) {
	for kind, addresses := range map[string][]string{collectors: e.Collectors, workers: e.Workers} {
		for _, address := range addresses {
			p := &remote{kind: kind, address: address}
			p.readiness.what = processGroup + " " + p.name()
			p.readiness.get = func(ctx context.Context) (readiness, error) { return askReady(ctx, address) }
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b *remote) int { return strings.Compare(a.kind, b.kind) })
	return all
}

const processGroup = "processes"

func (e *exam) processChecks(processes []*remote) []check {
	all := []check{{group: processGroup, name: "API keys", do: "collector keys list --keys FILE", look: e.keys}}
	for _, p := range processes {
		all = append(all, check{group: processGroup, name: p.name(), do: "start it, or correct --" + p.kind + "-url", look: p.ready})
	}
	for _, kind := range []string{collectors, workers} {
		if !slices.ContainsFunc(processes, func(p *remote) bool { return p.kind == kind }) {
			all = append(all, check{group: processGroup, name: kind, look: func(context.Context) (verdict, error) {
				return skip("not checked: give its address by --" + kind + "-url"), nil
			}})
		}
	}
	return all
}

// hostOf is an address without what may be secret in it.
func hostOf(address string) string {
	if parsed, err := url.Parse(address); err == nil && parsed.Host != "" {
		return parsed.Host
	}
	return "at an address that is no URL"
}

// readiness is what a process answers to /readyz, and how far its clock is ahead.
type readiness struct {
	ops.Readiness
	ahead time.Duration
	told  bool
}

// longestReadiness bounds in bytes what is read of an answer.
const longestReadiness = 1 << 20

func askReady(ctx context.Context, address string) (r readiness, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+"/readyz", nil)
	if err != nil {
		return r, fmt.Errorf("read the address: %w", unnamed(err))
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	asked := time.Now()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return r, fmt.Errorf("ask for /readyz: %w", unnamed(err))
	}
	defer response.Body.Close()
	r.ahead, r.told = aheadBy(response, asked)
	text, err := io.ReadAll(io.LimitReader(response.Body, longestReadiness))
	if err == nil {
		err = json.Unmarshal(text, &r.Readiness)
	}
	if err != nil {
		return r, fmt.Errorf("read the answer to /readyz, %s: %w", response.Status, err)
	}
	return r, nil
}

// unnamed is an error without the address, in which a password may be.
func unnamed(err error) error {
	if of, ok := err.(*url.Error); ok { //nolint:errorlint // net/http returns nothing else
		return of.Err
	}
	return err
}

func (p *remote) ready(ctx context.Context) (verdict, error) {
	r, err := p.readiness.report(ctx)
	if err != nil {
		return verdict{}, err
	}
	var wrong []string
	for _, of := range []map[string]string{r.Missing, r.Degraded} {
		for _, name := range slices.Sorted(maps.Keys(of)) {
			wrong = append(wrong, name+": "+of[name])
		}
	}
	text := inOneLine(strings.Join(wrong, "; "), longestDetail)
	switch {
	case !r.Ready:
		return fail("see the checks of what it names, and its log", "it is not ready: %s", text), nil
	case len(wrong) > 0:
		return warn("see the checks of what it names, and its log", "it is ready, but for %s", text), nil
	}
	return fine("it is ready"), nil
}

// tooOpen are the permissions of a key file that only its owner, and at most its group, needs.
const tooOpen = 0o027

// keys reads the file as a collector does.
func (e *exam) keys(context.Context) (verdict, error) {
	if e.Keys == "" {
		return skip("not checked: give the file by --keys"), nil
	}
	info, err := os.Stat(e.Keys)
	if err != nil {
		return verdict{}, fmt.Errorf("look at the key file: %w", err)
	}
	f, err := keyfile.Read(e.Keys)
	if err != nil {
		return verdict{}, err
	}
	tenants := map[string]bool{}
	for _, key := range f.Keys {
		if key.Revoked.IsZero() {
			tenants[key.Tenant] = true
		}
	}
	switch mode := info.Mode().Perm(); {
	case len(tenants) == 0:
		return warn("collector keys create --keys "+e.Keys+" --tenant NAME", "no key in it opens: collectors refuse everything"), nil
	case mode&tooOpen != 0:
		return warn("chmod 640 "+e.Keys, "tenants with keys: %d, but its mode is %04o: others may read or change it", len(tenants), mode), nil
	}
	return fine("tenants with keys: %d", len(tenants)), nil
}
