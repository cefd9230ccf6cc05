package faultproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/test/kit/faultproxy"
)

// TestTrim: what arrived before a time is gone, and a page without records is not
// the tip of the shard.
func TestTrim(t *testing.T) {
	t.Parallel()
	records := func(arrived ...string) string {
		var all []string
		for n, at := range arrived {
			all = append(all, fmt.Sprintf(`{"ApproximateArrivalTimestamp":%s,"SequenceNumber":"%d"}`, at, n))
		}
		return `"Records":[` + strings.Join(all, ",") + `]`
	}
	const next = `{"MillisBehindLatest":0,"NextShardIterator":"next",`
	for name, c := range map[string]struct {
		status         int
		answered, want string
		trimmed        int
	}{
		"some":    {200, next + records("999.999", "1000", "1000.001") + "}", next + `"Records":[{"ApproximateArrivalTimestamp":1000,"SequenceNumber":"1"},{"ApproximateArrivalTimestamp":1000.001,"SequenceNumber":"2"}]}`, 1},
		"all":     {200, next + records("999.998", "999.999") + "}", strings.Replace(next, ":0", ":1000", 1) + `"Records":[]}`, 2},
		"none":    {200, next + records("1001") + "}", next + records("1001") + "}", 0},
		"refused": {400, `{"__type":"ExpiredIteratorException"}`, `{"__type":"ExpiredIteratorException"}`, 0},
	} {
		target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.answered)
		}))
		t.Cleanup(target.Close)
		proxy := start(t, target.URL)
		proxy.Set(faultproxy.Rule{Name: name, Fault: faultproxy.Trim{Before: time.Unix(1000, 0)}})
		status, got, err := post(t.Context(), localtest.Client(t), proxy.URL())
		if _, trimmed := proxy.Count(name); err != nil || status != c.status || got != c.want || trimmed != c.trimmed {
			t.Errorf("%s: answered %d %s, %d were trimmed, error %v", name, status, got, trimmed, err)
		}
	}
}
