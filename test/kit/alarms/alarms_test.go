package alarms

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"millrace/deploy/observability/prometheus"
)

// TestJudgeNamesOnlyWhatStaysSilent: also when the time is over while a Prometheus has not answered.
func TestJudgeNamesOnlyWhatStaysSilent(t *testing.T) {
	t.Parallel()
	asked := atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client has gone
		if asked.Add(1) > 1 {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[
			{"metric":{"alertname":"Loud"},"value":[1,"1"]},{"metric":{"alertname":"Odd"},"value":[1,"1"]},{"metric":{"alertname":"Ignored"},"value":[1,"1"]}]}}`)
	}))
	defer server.Close()
	client, err := api.NewClient(api.Config{Address: server.URL, RoundTripper: &http.Transport{}})
	if err != nil {
		t.Fatal(err)
	}
	w := &Watcher{Server: &prometheus.Server{API: v1.NewAPI(client)}, Ignored: []string{"Ignored"}, since: time.Now()}
	fired, wrong, err := w.Judge(t.Context(), 2*time.Second, Expected{Must: []string{"Loud", "Silent"}})
	if err != nil || asked.Load() < 2 {
		t.Fatalf("after %d questions: %v", asked.Load(), err)
	}
	var said []string
	for _, err := range wrong {
		said = append(said, err.Error())
	}
	if want := []string{"the alert Silent does not fire", "the alert Odd fires at 00:00:01, for which there is no reason"}; !slices.Equal(said, want) || !slices.Equal(fired, []string{"Loud", "Odd"}) {
		t.Errorf("%q fired, wrong are %q", fired, said)
	}
}
