package e2e

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/test/kit/browser"
	"millrace/test/kit/faultproxy"
)

//go:embed console.mjs
var atTheConsole []byte

// TestConsole looks at the console in a real browser: at a desk and on
// a phone, in light and dark, with axe-core. The pictures lie below .local/shots.
func TestConsole(t *testing.T) {
	t.Parallel()
	chromium := browser.ForTest(t)
	repository := localtest.Name(t, "console")
	var proxy *faultproxy.Proxy
	s := start(t, func(at *servers) {
		proxy = proxyOf(t, at.elasticsearch)
		at.elasticsearch = proxy.URL()
		at.all = []string{"MILLRACE_SNAPSHOT_REPOSITORY=" + repository}
	}, "MILLRACE_WAITING_AFTER=5s")
	s.makeRepository(repository)
	s.must(s.StartBackup(t.Context()))
	s.must(s.AwaitShards(t.Context()))
	elsewhere, err := s.StartCollector(t.Context(), "MILLRACE_REGION=ap-southeast-4")
	s.must(err)
	console, err := s.StartConsole(t.Context(), s.collector, s.worker, "--collector-url", elsewhere.Ops, "--source-timeout", "2m", "--temporal-ui", localtest.TemporalUI(t))
	s.must(err)

	root, err := local.FindRoot(".")
	s.must(err)
	look := func(state string, texts ...string) {
		t.Helper()
		expected, err := json.Marshal(texts)
		s.must(err)
		s.must(chromium.Run(t.Context(), browser.Script{
			Name: "console.mjs", Text: atTheConsole, Shots: filepath.Join(root, ".local", "shots"),
			Env: []string{"CONSOLE=" + console.URL, "STATE=" + state, "EXPECTED=" + string(expected)},
		}))
	}
	look("idle", "All is well", "2 of 2 answer", "Not audited", "The ledger has no open entry", "There is none: starter snapshot schedule")

	loading, stop := context.WithCancel(t.Context())
	loaded := make(chan error, 2)
	go func() { loaded <- s.load(loading, s.collector.URL, "120") }()
	go func() { loaded <- s.load(loading, elsewhere.URL, "20") }()
	s.await(func() error {
		if n, err := s.stores.Indexed(t.Context()); err != nil || n < 500 {
			return fmt.Errorf("%d are indexed: %w", n, err)
		}
		return nil
	})
	_, err = s.Starter(t.Context(), "snapshot", "take", "--repository-type", "fs", "--wait", "5m")
	s.must(err)
	_, err = s.Starter(t.Context(), "recover", "--dry-run")
	s.must(err)
	look("loaded", "document_parsing_exception", "last good", "a dry run: nothing was changed", "2 shards")

	proxy.Set(faultproxy.Rule{Name: "down", Fault: faultproxy.Answer{Status: http.StatusServiceUnavailable, Body: "unavailable"}})
	_, err = s.Starter(t.Context(), "shard", "pause", "1", "--reason", "the mapping of spans is wrong")
	s.must(err)
	look("broken", " lacks elasticsearch", "shard 0 waits: ", "shard 1 is paused, by ", "(the mapping of spans is wrong)", "starter shard resume 1 --by ")
	stop()
	for range cap(loaded) {
		s.must(<-loaded)
	}
	proxy.Set()
	_, err = s.Starter(t.Context(), "shard", "resume", "1")
	s.must(err)
}

// load posts records as agents do, that many a second, until its context ends. Few are bad: from one in a hundred on, the
// console says so, now and then.
func (s *system) load(ctx context.Context, url, rate string) error {
	_, err := s.Starter(ctx, "send", "--url", url, "--key", s.key, "--for", time.Hour.String(), "--rate", rate, "--bad", "0.004")
	if err != nil && strings.Contains(err.Error(), "run starter send") && ctx.Err() != nil {
		return nil
	}
	return err
}
