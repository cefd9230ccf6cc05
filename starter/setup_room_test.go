package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// answering is a server before another one, which answers some requests itself: those for which it
// returns true. The tests share the other one, and must not change it for each other.
func answering(t *testing.T, server string, answer func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			pass.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// replyJSON answers as Elasticsearch does.
func replyJSON(w http.ResponseWriter, status int, body string) bool {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
	return true
}

// limited is a server that allows itself so many shards, as a setting of the whole
// cluster would.
func limited(t *testing.T, server, shards string) string {
	t.Helper()
	return answering(t, server, func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Path == "/_cluster/settings" &&
			replyJSON(w, http.StatusOK, `{"persistent":{"cluster":{"max_shards_per_node":"`+shards+`"}}}`)
	})
}

// TestSetupWarnsOfShardLimit of both servers, before the pipeline runs into it.
func TestSetupWarnsOfShardLimit(t *testing.T) {
	t.Parallel()
	const nowhere = "127.0.0.1:1"
	for flavor, server := range map[string]string{"elasticsearch": localtest.Elasticsearch(t), "opensearch": localtest.OpenSearch(t)} {
		for shards, want := range map[string]string{
			"1": "room for indices: WARNING: ", "100000": "room for indices: 1",
		} {
			o := newOperator(t, "AWS_ENDPOINT_URL=http://"+nowhere, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x",
				"TEMPORAL_ADDRESS="+nowhere, "MILLRACE_ELASTICSEARCH_FLAVOR="+flavor, "MILLRACE_ELASTICSEARCH_URL="+limited(t, server, shards))
			r := o.run("setup", "--replicas", "0")
			if !strings.Contains(r.out, want) || !strings.Contains(r.out, "of "+shards+" are used") {
				t.Errorf("%s with %s shards: %s", flavor, shards, r.out)
			}
		}
	}
}

func TestSetupEstimatesShards(t *testing.T) {
	t.Parallel()
	window := telemetry.Window{DaysBack: telemetry.DefaultDaysBack, DaysAhead: telemetry.DefaultDaysAhead}
	names := window.Names(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC))
	n := needed(index.Layout{Shards: 2, Replicas: 1}, names, map[string]index.State{names[0]: {}, names[1]: {}, "telemetry-span-2019.01.01": {}})
	if n != (needs{possible: 126, shards: 124 * 4, daily: 28}) {
		t.Errorf("%+v", n)
	}
	for room, fits := range map[index.Room]bool{{Limit: 1000, Used: 400}: true, {Limit: 1000, Used: 450}: false, {Limit: 10, Used: 20}: false} {
		if n.room = room; n.fit() != fits {
			t.Errorf("with %+v: %s", room, n)
		}
	}
}
