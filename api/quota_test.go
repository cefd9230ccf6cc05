package api

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"millrace/internal/keyfile"
)

// clock is a time that moves only when a test says so.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// timed is a collector whose quotas go by a clock of the test's.
func timed(t *testing.T, limits Limits) (*collector, *clock) {
	t.Helper()
	c, stopped := newCollector(t, limits), &clock{now: time.Now()}
	c.accounts.now = stopped.time
	return c, stopped
}

// key makes a key of another tenant.
func (c *collector) keyOf(t *testing.T, tenant string) string {
	t.Helper()
	key, err := keyfile.Create(c.keys, tenant)
	if err != nil {
		t.Fatal(err)
	}
	c.Server.keys.checked.Store(0)
	return key
}

// retryAfter is when an answer says to come again.
func (r reply) retryAfter(t *testing.T) time.Duration {
	t.Helper()
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	if r.status != 429 || err != nil || seconds < 1 {
		t.Fatalf("answered %d %s, Retry-After %q, want 429 and whole seconds", r.status, r.body, r.header.Get("Retry-After"))
	}
	return time.Duration(seconds) * time.Second
}

func logs(records int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(`{"type":"log"},`, records), ",") + "]"
}

func TestDefaultQuotaIsOn(t *testing.T) {
	t.Parallel()
	// One request of the largest size fits into each burst.
	if DefaultTenantRate <= 0 || quotaBurst*DefaultTenantRate < DefaultRecords {
		t.Errorf("%d records a second", DefaultTenantRate)
	}
	if DefaultTenantBytes <= 0 || quotaBurst*DefaultTenantBytes < DefaultBodyBytes {
		t.Errorf("%d bytes a second", DefaultTenantBytes)
	}
	for _, wrong := range []Limits{{TenantRate: -1}, {TenantBytes: -1}, {TenantBytes: math.Inf(1)}, {TenantRate: math.NaN()}} {
		if wrong.Validate() == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}

// One tenant sends a hundred times what it may, in records and in bytes: the
// other is served as if it were alone.
func TestTenantBeyondQuotaAffectsNoOther(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]Limits{
		"records": {TenantRate: 10, TenantBurst: 20}, "bytes": {TenantBytes: float64(len(logs(10)))},
	} {
		c, _ := timed(t, limits)
		other := c.keyOf(t, "other")
		taken, throttled := 0, 0
		for round := range 100 {
			switch r := c.postText(t, "/v1/telemetry", logs(10)); r.status {
			case 202:
				taken++
			case 429:
				throttled++
				r.retryAfter(t)
			default:
				t.Fatalf("%s: answered %d %s", name, r.status, r.body)
			}
			if round%50 == 0 {
				if r := c.postText(t, "/v1/telemetry", logs(10), "Authorization", "ApiKey "+other); r.status != 202 {
					t.Errorf("%s: the other tenant is answered %d %s", name, r.status, r.body)
				}
			}
		}
		if taken != 2 || throttled != 98 {
			t.Errorf("%s: %d requests were taken and %d throttled", name, taken, throttled)
		}
	}
}

func TestClientThatHonorsRetryAfterIsAccepted(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]Limits{
		"records": {TenantRate: 7, TenantBurst: 9}, "bytes": {TenantBytes: 100}, "both": {TenantRate: 3, TenantBytes: 70},
		"less than one": {TenantRate: 0.3}, "more than the burst": {TenantRate: 2, TenantBurst: 3, TenantBytes: 10},
	} {
		c, clock := timed(t, limits)
		waited := 0
		for range 10 {
			r := c.postText(t, "/v1/telemetry", logs(5))
			for tries := 0; r.status == 429; tries++ {
				if tries == 3 { // first as it comes in, then for its records
					t.Fatalf("%s: still answered %d %s", name, r.status, r.body)
				}
				waited++
				clock.pass(r.retryAfter(t))
				r = c.postText(t, "/v1/telemetry", logs(5))
			}
			if r.status != 202 {
				t.Fatalf("%s: answered %d %s", name, r.status, r.body)
			}
		}
		if waited == 0 {
			t.Errorf("%s: nothing had to wait", name)
		}
	}
}

// The rate holds on average, whatever the size of requests: one beyond the burst
// makes a debt.
func TestRequestBeyondBurstCreatesDebt(t *testing.T) {
	t.Parallel()
	c, clock := timed(t, Limits{TenantRate: 10, TenantBurst: 20})
	if r := c.postText(t, "/v1/telemetry", logs(120)); r.status != 202 {
		t.Fatalf("with a full burst: answered %d %s", r.status, r.body)
	}
	if wait := c.postText(t, "/v1/telemetry", logs(1)).retryAfter(t); wait != 11*time.Second { // 100 owed, and 1
		t.Errorf("the next is to wait for %s", wait)
	}
	clock.pass(10 * time.Second)
	c.postText(t, "/v1/telemetry", logs(1)).retryAfter(t)
	clock.pass(time.Second)
	if r := c.postText(t, "/v1/telemetry", logs(1)); r.status != 202 {
		t.Errorf("once it is paid: answered %d %s", r.status, r.body)
	}
}

// What cannot be used costs the collector no less than what can.
func TestRefusedRequestsCountAgainstQuota(t *testing.T) {
	t.Parallel()
	bomb := compressed(t, "gzip", bytes.Repeat([]byte(" "), 1<<20))
	for name, post := range map[string]func(c *collector) reply{
		"not JSON":               func(c *collector) reply { return c.postText(t, "/v1/telemetry", "{") },
		"no good record":         func(c *collector) reply { return c.postText(t, "/v1/telemetry", "[1]") },
		"nothing":                func(c *collector) reply { return c.postText(t, "/v1/telemetry", "[]") },
		"an unknown encoding":    func(c *collector) reply { return c.postText(t, "/v1/telemetry", "[]", "Content-Encoding", "br") },
		"announced as too large": func(c *collector) reply { return c.postText(t, "/v1/telemetry", strings.Repeat(" ", 1<<20)) },
		"damaged":                func(c *collector) reply { return c.postText(t, "/v1/telemetry", "x", "Content-Encoding", "gzip") },
		"a bomb": func(c *collector) reply {
			return c.post(t, "/v1/telemetry", bytes.NewReader(bomb), "Content-Encoding", "gzip")
		},
		"no protobuf": func(c *collector) reply {
			return c.postText(t, "/v1/logs", "x", "Content-Type", "application/x-protobuf")
		},
	} {
		c, _ := timed(t, Limits{TenantRate: 0.001, TenantBurst: 1, BodyBytes: 1 << 19})
		if r := post(c); r.status == 429 {
			t.Errorf("%s: the first is answered %d %s", name, r.status, r.body)
		}
		if r := post(c); r.status != 429 || !strings.Contains(r.Error+string(r.body), "records") {
			t.Errorf("%s: the second is answered %d %s", name, r.status, r.body)
		}
	}
	// Three of four are bad: all four count.
	c, _ := timed(t, Limits{TenantRate: 0.001, TenantBurst: 4})
	if r := c.postText(t, "/v1/telemetry", `[{"type":"log"},1,2,3]`); r.status != 202 {
		t.Errorf("a good one among bad ones: answered %d %s", r.status, r.body)
	}
	c.postText(t, "/v1/telemetry", oneRecord).retryAfter(t)
}

// Records that are left out cost as much as those that are taken, as far as one
// more full request: no tenant is shut out for an hour for one mistake.
func TestLeftOutRecordsCountAgainstQuota(t *testing.T) {
	t.Parallel()
	for sent, cost := range map[int]float64{3: 3, 7: 7, 5000: 10} {
		c, _ := timed(t, Limits{TenantRate: 0.001, TenantBurst: 100, Records: 5})
		data := plog.NewLogs()
		records := data.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
		for range sent {
			records.AppendEmpty().Body().SetStr("x")
		}
		body, err := plogotlp.NewExportRequestFromLogs(data).MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		if r := c.post(t, "/v1/logs", bytes.NewReader(body), "Content-Type", "application/x-protobuf"); r.status != 200 {
			t.Fatalf("%d records: answered %d %s", sent, r.status, r.body)
		}
		if left := c.accounts.of(testTenant).records.tokens; left != 100-cost {
			t.Errorf("%d records cost %v, want %v", sent, 100-left, cost)
		}
	}
}

// Bytes count after decompression, also those of a body that is refused, and
// each of them once.
func TestBytesCountAsTheyArrive(t *testing.T) {
	t.Parallel()
	body := strings.Repeat(" ", 5000) + oneRecord
	packed := compressed(t, "gzip", []byte(body))
	for name, post := range map[string]func(c *collector) reply{
		"of known length": func(c *collector) reply { return c.postText(t, "/v1/telemetry", body) },
		"chunked":         func(c *collector) reply { return c.post(t, "/v1/telemetry", io.MultiReader(strings.NewReader(body))) },
		"packed": func(c *collector) reply {
			return c.post(t, "/v1/telemetry", bytes.NewReader(packed), "Content-Encoding", "gzip")
		},
		"packed, chunked": func(c *collector) reply {
			return c.post(t, "/v1/telemetry", io.MultiReader(bytes.NewReader(packed)), "Content-Encoding", "gzip")
		},
	} {
		c, _ := timed(t, Limits{TenantBytes: 1000})
		if r := post(c); r.status != 202 {
			t.Fatalf("%s: answered %d %s", name, r.status, r.body)
		}
		owed := float64(len(body)) - quotaBurst*1000
		if left := c.accounts.of(testTenant).bytes.tokens; left != -owed {
			t.Errorf("%s: %v bytes are left, want %v", name, left, -owed)
		}
		if r := post(c); r.status != 429 || !strings.Contains(r.Error, "bytes") || r.header.Get("Retry-After") != strconv.Itoa(int(math.Ceil((owed+1)/1000))) {
			t.Errorf("%s: the next is answered %d %v %s", name, r.status, r.header, r.body)
		}
	}
}

// What records have in common is copied into each, and costs what it becomes; a
// body without such costs its own length.
func TestCopiesCountAsBytes(t *testing.T) {
	t.Parallel()
	const records, common = 50, 10_000
	composite := func(records int) string {
		return fmt.Sprintf(`[{"type":"Composite","data":{"x":%q,"allMonitoringData":[%s{"type":"Span"}]}}]`,
			strings.Repeat("x", common), strings.Repeat(`{"type":"Span"},`, records-1))
	}
	c, _ := timed(t, Limits{TenantBytes: 1000})
	if r := c.postText(t, "/v1/monitoring-data", composite(records)); r.status != 200 {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	if spent := quotaBurst*1000 - c.accounts.of(testTenant).bytes.tokens; spent < records*common || spent > 1.1*records*common {
		t.Errorf("%d times %d bytes cost %v", records, common, spent)
	}
	// Also where it is too much, and nothing is taken.
	c, _ = timed(t, Limits{TenantBytes: 1000, BodyBytes: 1 << 16})
	if r := c.postText(t, "/v1/monitoring-data", composite(100)); r.status != 413 {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	if spent := quotaBurst*1000 - c.accounts.of(testTenant).bytes.tokens; spent < 8*(1<<16)-100*recordOverhead {
		t.Errorf("what was refused cost %v", spent)
	}
}

// Of many large bodies that come at once only those are read that the quota has
// room for: the others are answered before a byte of them has arrived.
func TestAnnouncedBytesAreChargedAtOnce(t *testing.T) {
	t.Parallel()
	c, _ := timed(t, Limits{TenantBytes: 1000})
	account := c.accounts.of(testTenant)
	let := 0
	for range 26 {
		if wait, of := account.enter(1500); wait == 0 {
			let++
		} else if of != ofBytes || wait < time.Second {
			t.Errorf("to wait %s for %s", wait, of)
		}
	}
	if let != 2 {
		t.Errorf("%d of 26 came in", let)
	}
}

func TestTenantMayHaveItsOwnQuota(t *testing.T) {
	t.Parallel()
	c, clock := timed(t, Limits{TenantRate: 1, TenantBurst: 1, TenantBytes: 1000})
	set := func(change keyfile.Quota) {
		t.Helper()
		if err := keyfile.SetQuota(c.keys, testTenant, change); err != nil {
			t.Fatal(err)
		}
		c.Server.keys.checked.Store(0)
	}
	rate := func(of float64) *float64 { return &of }
	c.postText(t, "/v1/telemetry", logs(1))
	c.postText(t, "/v1/telemetry", logs(1)).retryAfter(t)

	set(keyfile.Quota{RecordsRate: rate(0)})
	for range 5 {
		if r := c.postText(t, "/v1/telemetry", logs(10)); r.status != 202 {
			t.Errorf("without a limit of records: answered %d %s", r.status, r.body)
		}
	}
	set(keyfile.Quota{BytesRate: rate(10)}) // and still none of records
	clock.pass(time.Hour)
	if r := c.postText(t, "/v1/telemetry", logs(10)); r.status != 202 {
		t.Errorf("with all bytes: answered %d %s", r.status, r.body)
	}
	if r := c.postText(t, "/v1/telemetry", logs(1)); r.retryAfter(t) < 10*time.Second || !strings.Contains(r.Error, "bytes") {
		t.Errorf("beyond its own limit of bytes: answered %d %v %s", r.status, r.header, r.body)
	}
	if quotas, err := keyfile.Quotas(c.keys); err != nil || len(quotas) != 1 || *quotas[testTenant].RecordsRate != 0 || *quotas[testTenant].BytesRate != 10 {
		t.Errorf("the file says %v, %v", quotas, err)
	}
	if err := keyfile.ResetQuota(c.keys, testTenant); err != nil {
		t.Fatal(err)
	}
	c.Server.keys.checked.Store(0)
	clock.pass(time.Hour)
	if r := c.postText(t, "/v1/telemetry", logs(1)); r.status != 202 {
		t.Errorf("by default again: answered %d %s", r.status, r.body)
	}
	c.postText(t, "/v1/telemetry", logs(1)).retryAfter(t)
	// Keys that come later leave quotas alone.
	set(keyfile.Quota{RecordsRate: rate(42)})
	c.keyOf(t, "other")
	if quotas, err := keyfile.Quotas(c.keys); err != nil || *quotas[testTenant].RecordsRate != 42 {
		t.Errorf("after another key the file says %v, %v", quotas, err)
	}
}

func TestBadQuotaChangesNothing(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	negative, nan := -1.0, math.NaN()
	for _, wrong := range []keyfile.Quota{{RecordsRate: &negative}, {BytesRate: &negative}, {BytesRate: &nan}} {
		if err := keyfile.SetQuota(c.keys, testTenant, wrong); err == nil {
			t.Errorf("%v is taken", wrong)
		}
	}
	if err := keyfile.SetQuota(c.keys, "no tenant", keyfile.Quota{}); err == nil {
		t.Error("a quota of an impossible tenant is taken")
	}
	data, err := os.ReadFile(c.keys)
	if err != nil {
		t.Fatal(err)
	}
	for name, quotas := range map[string]string{"negative": `{"acme":{"records_rate":-1}}`, "of no tenant": `{"a b":{"records_rate":1}}`} {
		broken := strings.Replace(string(data), "{", `{"quotas":`+quotas+`,`, 1)
		if err := os.WriteFile(c.keys, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKeys(c.keys); err == nil || !strings.Contains(err.Error(), "quota") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Over gRPC a message is there before its size is known, so it is paid for
// afterwards.
func TestQuotasHoldOverGRPC(t *testing.T) {
	t.Parallel()
	c, clock := timed(t, Limits{TenantBytes: 100, BodyBytes: 1 << 16})
	client := plogotlp.NewGRPCClient(c.dial(t))
	export := func(text int) error {
		data := plog.NewLogs()
		data.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr(strings.Repeat("x", text))
		_, err := client.Export(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", c.key), plogotlp.NewExportRequestFromLogs(data))
		return err
	}
	wait := func(err error) time.Duration {
		t.Helper()
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.RetryInfo); ok && status.Code(err) == codes.ResourceExhausted {
				return info.RetryDelay.AsDuration()
			}
		}
		t.Fatalf("%v, want RESOURCE_EXHAUSTED with RetryInfo", err)
		return 0
	}
	if err := export(1000); err != nil {
		t.Fatal(err)
	}
	delay := wait(export(1))
	if delay < 8*time.Second || delay > 10*time.Second {
		t.Errorf("to wait %s for 1000 bytes less 200 at 100 a second", delay)
	}
	clock.pass(delay)
	if err := export(1); err != nil {
		t.Errorf("after %s: %v", delay, err)
	}
	clock.pass(time.Hour)
	if err := export(1 << 17); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too large: %v", err)
	}
	if delay := wait(export(1)); delay < time.Minute {
		t.Errorf("to wait %s after a message that was too large", delay)
	}
}

func TestThrottledRequestsAreCountedByQuota(t *testing.T) {
	c, _ := timed(t, Limits{TenantRate: 1, TenantBurst: 1}) // alone, since the metrics are the process's
	before := metric(t, "millrace_api_throttled_requests_total telemetry records")
	for range 3 {
		c.postText(t, "/v1/telemetry", oneRecord)
	}
	if got := metric(t, "millrace_api_throttled_requests_total telemetry records") - before; got != 2 {
		t.Errorf("%v were counted, want 2", got)
	}
}

// metric is the value of one series of this process, by name and label values.
func metric(t *testing.T, series string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			text := family.GetName()
			for _, label := range metric.GetLabel() {
				text += " " + label.GetValue()
			}
			if text == series {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}
