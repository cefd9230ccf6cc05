package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/internal/config"
	"millrace/internal/index"
)

// path answers a path as Elasticsearch would.
func path(of string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Path == of && replyJSON(w, status, body)
	}
}

// granting is a server with security, which grants all but some privileges.
func granting(but ...string) func(http.ResponseWriter, *http.Request) bool {
	grants := func(all []string) string {
		var has []string
		for _, privilege := range all {
			has = append(has, fmt.Sprintf("%q:%v", privilege, !slices.Contains(but, privilege)))
		}
		return strings.Join(has, ",")
	}
	var cluster, indices []string
	for _, need := range index.Needs {
		cluster, indices = append(cluster, need.Cluster...), append(indices, need.Indices...)
	}
	return path("/_security/user/_has_privileges", http.StatusOK, fmt.Sprintf(`{"cluster":{%s},"index":{"telemetry-*":{%s},"millrace-canary-*":{%[2]s}}}`, grants(cluster), grants(indices)))
}

// TestDoctorOfElasticsearch sees each check find what is right and what is wrong.
func TestDoctorOfElasticsearch(t *testing.T) {
	t.Parallel()
	real := localtest.Elasticsearch(t)
	documents, err := index.Open(index.Settings{URLs: []string{real}})
	if err != nil {
		t.Fatal(err)
	}
	if err := documents.Setup(t.Context(), index.Layout{Shards: 1}); err != nil {
		t.Fatal(err)
	}
	before := func(answer func(http.ResponseWriter, *http.Request) bool) func(*ward) {
		return func(w *ward) { w.searching(answering(t, real, answer)) }
	}
	const template = "/_component_template/millrace-otlp"
	version := func(n string) func(*ward) {
		return before(path(template, http.StatusOK, `{"component_templates":[{"component_template":{"version":`+n+`}}]}`))
	}
	hour := fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())
	for name, c := range map[string]struct {
		prepare     func(w *ward)
		check, want string
		texts       []string
	}{
		"a server":         {func(w *ward) { w.searching(real) }, "elasticsearch server", checkOK, []string{"elasticsearch 8."}},
		"OpenSearch":       {func(w *ward) { w.searching(localtest.OpenSearch(t)).Flavor = "opensearch" }, "elasticsearch server", checkOK, []string{"opensearch 2."}},
		"away":             {func(w *ward) { w.searching("http://127.0.0.1:1") }, "elasticsearch server", checkFails, []string{"connection refused", helpElasticsearch}},
		"another product":  {func(w *ward) { w.searching(localtest.OpenSearch(t)) }, "elasticsearch server", checkFails, []string{"is not Elasticsearch"}},
		"the wrong flavor": {func(w *ward) { w.searching(real).Flavor = "opensearch" }, "elasticsearch server", checkFails, []string{"--elasticsearch-flavor elasticsearch"}},
		"too old":          {before(path("/_nodes/process", http.StatusOK, `{"nodes":{"a":{"version":"8.19.1","build_flavor":"default"},"b":{"version":"7.13.4","build_flavor":"default"}}}`)), "elasticsearch server", checkFails, []string{"elasticsearch 7.13.4, 8.19.1", "upgrade the cluster to 7.14"}},
		"a bad key":        {before(path("/_nodes/process", http.StatusUnauthorized, `{"error":{"type":"security_exception","reason":"unable to authenticate"}}`)), "elasticsearch server", checkFails, []string{"status 401", "unable to authenticate"}},
		"files":            {func(w *ward) { w.searching("http://127.0.0.1:1").Sink.Kind = config.SinkFile }, "elasticsearch server", checkSkipped, []string{"--sink file needs none"}},
		"what needs it":    {func(w *ward) { w.searching("http://127.0.0.1:1") }, "elasticsearch index templates", checkSkipped, []string{"elasticsearch server, which failed above"}},

		"no security":           {func(w *ward) { w.searching(real) }, "elasticsearch privileges", checkSkipped, []string{"not checked"}},
		"OpenSearch's security": {func(w *ward) { w.searching(localtest.OpenSearch(t)).Flavor = "opensearch" }, "elasticsearch privileges", checkSkipped, []string{"not checked"}},
		"all privileges":        {before(granting()), "elasticsearch privileges", checkOK, nil},
		"no snapshots":          {before(granting("manage")), "elasticsearch privileges", checkWarns, []string{"a worker that takes snapshots, deletes by age, or recovers lacks manage of the cluster, manage of telemetry-*"}},
		"no canary":             {before(granting("delete_index")), "elasticsearch privileges", checkWarns, []string{"a worker, where there is a canary lacks delete_index of millrace-canary-*"}},
		"no documents":          {before(granting("create_doc")), "elasticsearch privileges", checkFails, []string{"a worker lacks create_doc of telemetry-*", "docs/operating.md"}},
		"no question":           {before(path("/_security/user/_has_privileges", http.StatusForbidden, `{"error":{"type":"security_exception","reason":"no"}}`)), "elasticsearch privileges", checkFails, []string{"status 403"}},

		"templates":         {func(w *ward) { w.searching(real) }, "elasticsearch index templates", checkOK, []string{"6 of this program's version, for 1 shards"}},
		"no template":       {before(path(template, http.StatusNotFound, `{}`)), "elasticsearch index templates", checkFails, []string{"millrace-otlp is missing", "starter setup --index-shards 1 --replicas"}},
		"no canary's":       {before(path("/_index_template/millrace-canary", http.StatusNotFound, `{}`)), "elasticsearch index templates", checkWarns, []string{"millrace-canary has version 0, and this program 1: the canary needs it", "starter setup"}},
		"a stale template":  {version("0"), "elasticsearch index templates", checkFails, []string{"millrace-otlp is missing"}},
		"a newer template":  {version("1000"), "elasticsearch index templates", checkWarns, []string{"millrace-otlp has version 1000, and this program 1", "upgrade starter"}},
		"templates refused": {before(path(template, http.StatusForbidden, `{"error":{"type":"security_exception","reason":"no"}}`)), "elasticsearch index templates", checkFails, []string{"status 403"}},

		"room":         {func(w *ward) { w.searching(limited(t, real, "100000")) }, "elasticsearch room for indices", checkOK, []string{"of 100000 are used"}},
		"hardly room":  {before(has(890)), "elasticsearch room for indices", checkWarns, []string{"names are possible at a time", "Delete old indices"}},
		"no room":      {before(has(1000)), "elasticsearch room for indices", checkFails, []string{"1000 of 1000 are used", "Delete old indices"}},
		"its time":     {func(w *ward) { w.searching(real) }, "clocks elasticsearch", checkOK, []string{"within 30s"}},
		"another time": {before(path("/_nodes/stats/process", http.StatusOK, `{"nodes":{"x":{"name":"late","timestamp":`+hour+`}}}`)), "clocks elasticsearch", checkFails, []string{"the clock of node late", "ahead of this", "NTP"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t)
			c.prepare(w)
			w.finds(c.check, c.want, c.texts...)
		})
	}
}

// has is a cluster with so many shards, of the 1000 that one node may have.
func has(shards int) func(http.ResponseWriter, *http.Request) bool {
	return path("/_cluster/health", http.StatusOK, fmt.Sprintf(`{"number_of_data_nodes":1,"active_shards":%d}`, shards))
}

// TestPrivilegesAreThoseOfTheDocuments: the table that operators read is the one that is checked.
func TestPrivilegesAreThoseOfTheDocuments(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, need := range index.Needs {
		row := ""
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "| "+need.For+" |") || strings.HasPrefix(line, "| `"+need.For+"` |") {
				row = line
			}
		}
		if row == "" {
			t.Errorf("no row for %s", need.For)
		}
		cells := strings.Split(row, "|")
		for _, privilege := range need.Cluster {
			if len(cells) > 2 && !strings.Contains(cells[2], "`"+privilege+"`") {
				t.Errorf("%s needs %s of the cluster", need.For, privilege)
			}
		}
		if strings.Contains(row, "the same, ") { // as the row before
			continue
		}
		for _, privilege := range need.Indices {
			if len(cells) > 3 && !strings.Contains(cells[3], "`"+privilege+"`") {
				t.Errorf("%s needs %s of indices", need.For, privilege)
			}
		}
	}
}
