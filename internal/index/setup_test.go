package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/deploy"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// ready installs the real templates. Tests that run at the same time install
// the same ones.
func (s server) ready(t testing.TB) {
	t.Helper()
	if err := s.client.Setup(t.Context(), Layout{Shards: 1, Replicas: 0}); err != nil {
		t.Fatal(err)
	}
}

func TestSetupMakesReady(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		for range 2 {
			s.ready(t)
			for _, ready := range []func(context.Context) error{s.client.Ready, s.client.ReadyForCanary} {
				if err := ready(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestCanaryHasOneShard, however many telemetry has.
func TestCanaryHasOneShard(t *testing.T) {
	t.Parallel()
	all, err := templates(Elasticsearch, Layout{Shards: 3, Replicas: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range all {
		shards := map[bool]string{false: `"index.number_of_shards":3`, true: `"index.number_of_shards":1`}[part.canary()]
		for _, want := range []string{shards, `"index.number_of_replicas":2`} {
			if !part.component && !strings.Contains(string(part.body), want) {
				t.Errorf("%s lacks %s: %s", part.name, want, part.body)
			}
		}
	}
}

// TestOnlyTheCanaryNeedsItsTemplate: telemetry is indexed without it.
func TestOnlyTheCanaryNeedsItsTemplate(t *testing.T) {
	t.Parallel()
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/millrace-canary"):
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{}`)
		case strings.HasPrefix(r.URL.Path, "/_component_template/"):
			fmt.Fprint(w, `{"component_templates":[{"component_template":{"version":1000}}]}`)
		default:
			fmt.Fprint(w, `{"index_templates":[{"index_template":{"version":1000}}]}`)
		}
	}))
	t.Cleanup(at.Close)
	c, err := Open(Settings{URLs: []string{at.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("telemetry: %v", err)
	}
	if err := c.ReadyForCanary(t.Context()); !errors.Is(err, ErrNoTemplates) {
		t.Errorf("the canary: %v", err)
	}
}

// hits counts the documents of an index that match a query.
func (s server) hits(t testing.TB, index, query string) int {
	t.Helper()
	s.call(t, http.MethodPost, "/"+index+"/_refresh", "")
	return int(s.call(t, http.MethodPost, "/"+index+"/_count", `{"query":`+query+`}`)["count"].(float64))
}

// documents are bodies as the protocols bring them.
var protocolBodies = map[string]string{
	"otlp span": `{"trace_id":"5b8efff798038103d269b633813fc60c","span_id":"eee19b7ec3c1b174","parent_span_id":"","trace_state":"a=b",
		"name":"GET /orders","kind":"Server","duration":1500000,"status":{"code":"Error","message":"no"},
		"attributes":{"http.request.method":"GET","http.response.status_code":500,"deep":{"er":[1,"two",null,true]}},
		"dropped_attributes_count":1,"links":[{"trace_id":"aa","attributes":{"k":"v"}}],"events":[{"name":"exception","timestamp":"1"}],
		"resource":{"attributes":{"service.name":"checkout"},"schema_url":"https://x"},"scope":{"name":"lib","version":"1","attributes":{}}}`,
	"otlp log": `{"observed_timestamp":"2026-11-23T01:02:03.123456789Z","severity_text":"ERROR","severity_number":17,"event_name":"e",
		"body":{"text":"order accepted","structured":{"k":["v",1]}},"attributes":{"log.file.name":"a"},"trace_flags":1}`,
	"otlp metric": `{"name":"queue.depth","description":"how deep","unit":"1","metric_type":"histogram","temporality":"delta","monotonic":true,
		"start_timestamp":"2026-11-23T01:02:03.1Z","value":1.5,"count":3,"sum":4.5,"min":-1,"max":2.5,"bucket_counts":[1,2],
		"explicit_bounds":[0.5],"exemplars":[{"value":1}],"attributes":{"region":"eu"}}`,
	"thundra span": `{"agentVersion":"3.0.10","dataModelVersion":"2.0","traceId":"t1","transactionId":"x","parentSpanId":"","spanOrder":1,
		"domainName":"API","className":"HTTP","serviceName":"s","operationName":"get","startTimestamp":1795050123000,
		"finishTimestamp":1795050123045,"duration":45,"logs":[{"a":1,"timestamp":null}],"tags":{"error":true,"http.status_code":500,
		"error.stack":"` + strings.Repeat("at f()\\n", 1_000) + `"},"applicationId":"aws:lambda:eu-west-1:1:f","applicationTags":{"team":"a"}}`,
	"thundra invocation": `{"traceId":"t1","transactionId":"x","spanId":"s","applicationPlatform":"","applicationRegion":null,"duration":45,
		"startTimestamp":1795050123000,"finishTimestamp":null,"erroneous":true,"errorType":"KeyError","errorMessage":"'a'","errorStack":null,
		"errorCode":-1,"coldStart":true,"timeout":false,"tags":{"aws.region":"eu-west-1"},"userTags":{"http.status_code":500},
		"resources":[{"resourceType":"HTTP","resourceName":"x","resourceDuration":3,"resourceErrors":["E"],"resourceAvgDuration":1.5}],
		"incomingTraceLinks":[],"outgoingTraceLinks":["a","b"],"applicationResourceName":null}`,
	"thundra metric": `{"metricName":"CPUMetric","metricTimestamp":1795050123000,"metrics":{"app.cpuLoad":0.25,"sys.cpuLoad":1,
		"threadCount":3,"generation0Collections":1},"tags":{"aws.region":""},"traceId":"","spanId":""}`,
	"thundra log": `{"spanId":"s","logMessage":"hello world","logContextName":"root","logTimestamp":1795050123000,"logLevel":"INFO",
		"logLevelCode":2,"traceId":"t1"}`,
	"anything": `{"surprise":{"a":[{"b":1}]},"another":"x"}`,
}

func TestEveryProtocolsDocumentsAreTakenAndFound(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		s.ready(t)
		index := s.name(t)
		bulk := &sink.Bulk{}
		var names []string
		for name, body := range protocolBodies {
			names = append(names, name)
			bulk.Add(record(t, index, name, strings.Join(strings.Fields(body), " ")), now)
		}
		r := s.client.Do(t.Context(), bulk)
		for _, item := range r.Items {
			t.Errorf("%s: %+v", names[item.Position], item)
		}
		if r.Class != outcome.Indexed {
			t.Fatalf("%+v", r)
		}
		for query, want := range map[string]string{
			`{"term":{"attributes.http.request.method":"GET"}}`:        "otlp span",
			`{"term":{"attributes.http.response.status_code":"500"}}`:  "otlp span",
			`{"term":{"resource.attributes.service.name":"checkout"}}`: "otlp span",
			`{"term":{"status.code":"Error"}}`:                         "otlp span",
			`{"term":{"links.attributes.k":"v"}}`:                      "otlp span",
			`{"match":{"body.text":"accepted"}}`:                       "otlp log",
			`{"term":{"body.structured.k":"v"}}`:                       "otlp log",
			`{"range":{"severity_number":{"gte":17}}}`:                 "otlp log",
			`{"range":{"value":{"gt":1.4,"lt":1.6}}}`:                  "otlp metric",
			`{"term":{"tags.http.status_code":"500"}}`:                 "thundra span",
			`{"term":{"applicationTags.team":"a"}}`:                    "thundra span",
			`{"range":{"startTimestamp":{"gt":"2026-11-18"}}}`:         "", // two of them
			`{"term":{"userTags.http.status_code":"500"}}`:             "thundra invocation",
			`{"term":{"resources.resourceName":"x"}}`:                  "thundra invocation",
			`{"term":{"outgoingTraceLinks":"b"}}`:                      "thundra invocation",
			`{"term":{"errorCode":"-1"}}`:                              "thundra invocation",
			`{"range":{"metrics.app.cpuLoad":{"gt":0.2,"lt":0.3}}}`:    "thundra metric",
			`{"match":{"logMessage":"hello"}}`:                         "thundra log",
			`{"bool":{"filter":[{"term":{"id":"anything"}},{"term":{"tenant":"acme"}},{"term":{"region":"eu-west-1"}},{"term":{"type":"span"}},
				{"range":{"received_at":{"gte":"2026-11-23","lt":"2026-11-24"}}},{"exists":{"field":"indexed_at"}}]}}`: "anything",
		} {
			found, total := s.hits(t, index, query), 1
			if want == "" {
				total = 2
			} else if s.hits(t, index, `{"bool":{"filter":[`+query+`,{"term":{"id":"`+want+`"}}]}}`) != 1 {
				t.Errorf("%s does not find %s", query, want)
			}
			if found != total {
				t.Errorf("%s finds %d documents, want %d", query, found, total)
			}
		}
		// Tags have made no fields.
		mapping, err := json.Marshal(s.call(t, http.MethodGet, "/"+index+"/_mapping", ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, made := range []string{"surprise", "another", "method", "team", "resourceName", "bucket_counts"} {
			if strings.Contains(string(mapping), `"`+made+`"`) {
				t.Errorf("field %s was made", made)
			}
		}
	})
}

func TestATypedFieldRefusesWhatItIsNot(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		s.ready(t)
		index := s.name(t)
		for _, body := range []string{
			`{"duration":"not a number"}`, `{"value":"high"}`, `{"severity_number":"loud"}`, `{"coldStart":"maybe"}`,
			`{"startTimestamp":"yesterday"}`, `{"start_timestamp":"yesterday"}`, `{"attributes":"none"}`, `{"status":"ok"}`,
			`{"body":"text"}`, `{"metrics":3}`,
		} {
			if item := s.one(t, record(t, index, body, body)); item.Class != outcome.Poison {
				t.Errorf("%s: %+v", body, item)
			}
		}
		// A word too long to be a term is kept, and not searched.
		long := record(t, index, "long", `{"name":"`+strings.Repeat("x", 50_000)+`"}`)
		if item := s.one(t, long); item.Class != outcome.Indexed {
			t.Errorf("a long name: %+v", item)
		}
		if got := s.source(t, long)["name"].(string); len(got) != 50_000 {
			t.Errorf("%d bytes of the name are kept", len(got))
		}
		// But for OpenSearch's free-form objects, which have no such limit.
		want := outcome.Indexed
		if s.client.flavor == OpenSearch {
			want = outcome.Poison
		}
		if item := s.one(t, record(t, index, "tag", `{"attributes":{"a":"`+strings.Repeat("y", 50_000)+`"}}`)); item.Class != want {
			t.Errorf("a long tag: %+v", item)
		}
	})
}

func TestNanosecondsAreKeptAndOrdered(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		s.ready(t)
		index := s.name(t)
		var want []string
		bulk := &sink.Bulk{}
		for i, at := range []time.Time{
			telemetry.EarliestTimestamp, now.Add(1), now.Add(2), now.Add(1001), telemetry.LatestTimestamp.Add(-1),
		} {
			id := fmt.Sprint(i)
			want = append(want, id)
			bulk.Add(recordAt(t, index, id, at, `{}`), now)
		}
		if r := s.client.Do(t.Context(), bulk); r.Class != outcome.Indexed || len(r.Items) != 0 {
			t.Fatalf("%+v", r)
		}
		if n := s.hits(t, index, `{"range":{"@timestamp":{"gte":"2026-11-23T01:02:03.000000002Z","lt":"2026-11-23T01:02:03.000001001Z"}}}`); n != 1 {
			t.Errorf("%d documents within a microsecond, want 1", n)
		}
		answer := s.call(t, http.MethodPost, "/"+index+"/_search", `{"sort":["@timestamp"]}`)
		var got []string
		for _, hit := range answer["hits"].(map[string]any)["hits"].([]any) {
			got = append(got, hit.(map[string]any)["_source"].(map[string]any)["id"].(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("in the order %v", got)
		}
	})
}

func TestAnIndexThatWasDeletedComesBackWithItsMapping(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		s.ready(t)
		index := s.name(t)
		for range 2 {
			if item := s.one(t, record(t, index, "a", `{"surprise":1}`)); item.Class != outcome.Indexed || item.Duplicate {
				t.Fatalf("%+v", item)
			}
			answer := s.call(t, http.MethodGet, "/"+index, "")[index].(map[string]any)
			mapping := answer["mappings"].(map[string]any)
			properties := mapping["properties"].(map[string]any)
			if mapping["dynamic"] != "false" || properties["@timestamp"].(map[string]any)["type"] != "date_nanos" || properties["surprise"] != nil {
				t.Errorf("mapping %v", mapping)
			}
			settings := answer["settings"].(map[string]any)["index"].(map[string]any)
			if settings["translog"].(map[string]any)["durability"] != "request" {
				t.Errorf("settings %v", settings)
			}
			s.call(t, http.MethodDelete, "/"+index, "")
		}
	})
}

func TestTheLayoutReachesTheIndex(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		s.ready(t) // the components
		parts, err := templates(s.client.flavor, Layout{Shards: 3, Replicas: 2})
		if err != nil {
			t.Fatal(err)
		}
		index := parts[len(parts)-1]
		// A priority that no template has, since the server simulates beside what is installed.
		body := strings.Replace(string(index.body), `"priority":500`, `"priority":501`, 1)
		simulated := s.call(t, http.MethodPost, "/_index_template/_simulate", body)
		settings := simulated["template"].(map[string]any)["settings"].(map[string]any)["index"].(map[string]any)
		if settings["number_of_shards"] != "3" || settings["number_of_replicas"] != "2" {
			t.Errorf("%v", settings)
		}
	})
	for _, l := range []Layout{{}, {Shards: 1, Replicas: -1}, {Shards: maxShards + 1}} {
		if (&Client{}).Setup(t.Context(), l) == nil {
			t.Errorf("%+v is taken", l)
		}
	}
	if err := DefaultLayout.Validate(); err != nil {
		t.Error(err)
	}
}

func TestReadySaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status  int
		body    string
		missing bool
	}{
		"not there":   {404, `{"error":{"type":"resource_not_found_exception","reason":"no"},"status":404}`, true},
		"older":       {200, `{"component_templates":[{"component_template":{"version":0}}]}`, true},
		"no version":  {200, `{"component_templates":[{"component_template":{}}]}`, true},
		"empty":       {200, `{}`, true},
		"unavailable": {503, ``, false},
	} {
		err := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Elastic-Product", "Elasticsearch")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})).Ready(t.Context())
		if err == nil || errors.Is(err, ErrNoTemplates) != c.missing {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// schema.md is the one place where fields are described: it must have all of
// them, with the types that the templates give.
func TestTheSchemaDescribesEveryField(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/schema.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([a-z_]+) \\|").FindAllStringSubmatch(string(text), -1) {
		described[row[1]] = row[2]
	}
	files, err := deploy.Templates.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	mapped := map[string]string{}
	for _, file := range files {
		var component struct {
			Template struct{ Mappings map[string]any }
		}
		text, err := deploy.Templates.ReadFile("templates/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &component); err != nil {
			t.Fatal(err)
		}
		fields(component.Template.Mappings, "", func(name, fieldType string) {
			if mapped[name] != "" {
				t.Errorf("%s stands in two templates", name)
			}
			mapped[name] = fieldType
		})
	}
	for name, fieldType := range mapped {
		if described[name] != fieldType {
			t.Errorf("%s is %s, and described as %q", name, fieldType, described[name])
		}
	}
	for name, fieldType := range described {
		if fieldType != "kept" && mapped[name] == "" {
			t.Errorf("%s is described, and not mapped", name)
		}
	}
	if len(mapped) < 50 {
		t.Errorf("only %d fields", len(mapped))
	}
}

func fields(mapping map[string]any, prefix string, found func(name, fieldType string)) {
	properties, _ := mapping["properties"].(map[string]any)
	for name, value := range properties {
		child := value.(map[string]any)
		if fieldType, ok := child["type"].(string); ok {
			found(prefix+name, fieldType)
		}
		fields(child, prefix+name+".", found)
	}
}
