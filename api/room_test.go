package api

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"millrace/internal/keyfile"
	"millrace/test/kit/poll"
)

// another makes a second tenant and returns its key.
func (c *collector) another(t *testing.T) string {
	t.Helper()
	key, err := keyfile.Create(c.keys, "other")
	if err != nil {
		t.Fatal(err)
	}
	c.Server.keys.checked.Store(0)
	return key
}

// silent announces a body, sends a part of it, and says nothing more. The
// returned connection may still be answered.
func (c *collector) silent(t *testing.T, announced int, part []byte) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", c.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	head := fmt.Sprintf("POST /v1/telemetry HTTP/1.1\r\nHost: c\r\nContent-Type: application/json\r\nAuthorization: ApiKey %s\r\nContent-Length: %d\r\n\r\n", c.key, announced)
	if _, err := connection.Write(append([]byte(head), part...)); err != nil {
		t.Fatal(err)
	}
	return connection
}

// inHand waits until a tenant has so many requests in hand.
func (c *collector) inHand(t *testing.T, want int) {
	t.Helper()
	if err := poll.While(t.Context(), time.Millisecond, time.Minute, func() (string, bool, error) {
		c.room.mu.Lock()
		defer c.room.mu.Unlock()
		has := c.room.tenants[testTenant]
		return fmt.Sprintf("%+v", has), has.requests == want, nil
	}); err != nil {
		t.Fatalf("the tenant has no %d requests in hand: %v", want, err)
	}
}

// readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestBodyMemoryFollowsBytesReceived: it doubles, whatever was announced.
func TestBodyMemoryFollowsBytesReceived(t *testing.T) {
	t.Parallel()
	const size, least = 1 << 20, 64 << 10
	for _, announced := range []int64{-1, size, 2 * size} {
		held := &share{room: newRoom(Limits{}.withDefaults())}
		arrived := 0
		body, err := collect(readerFunc(func(p []byte) (int, error) {
			if most := int64(max(least, 2*arrived) + 1); held.held.bytes > most {
				t.Fatalf("of %d announced bytes %d have arrived, and %d are held", announced, arrived, held.held.bytes)
			}
			n := min(len(p), 1000, size-arrived)
			if arrived += n; n == 0 {
				return 0, io.EOF
			}
			return n, nil
		}), announced, 2*size, held)
		if err != nil || len(body) != size || held.held.bytes < size {
			t.Errorf("of %d announced bytes %d have come, %d are held, error %v", announced, len(body), held.held.bytes, err)
		}
	}
}

func TestAnnouncedBodyTakesNoRoomBeforeItArrives(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	other := c.another(t)
	const many = 100
	for range many {
		c.silent(t, DefaultBodyBytes, []byte("["))
	}
	c.inHand(t, many)
	for _, key := range []string{other, c.key} {
		for range 20 {
			if r := c.postText(t, "/v1/telemetry", oneRecord, "Authorization", "ApiKey "+key); r.status != 202 {
				t.Fatalf("beside silent connections: answered %d %s", r.status, r.body)
			}
		}
	}
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	if taken := DefaultRequestBytes - c.room.left; taken > many*(64<<10) {
		t.Errorf("%d bytes are held by clients that sent one each", taken)
	}
}

// A tenant whose bodies never end fills its own part of the room.
func TestTenantGetsAtMostQuarterOfRoom(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{BodyBytes: 1 << 20, RequestBytes: 40 << 20})
	other := c.another(t)
	const most, many = 10, 26 // bodies in a quarter
	answers := make(chan int, many)
	for range many {
		connection := c.silent(t, 1<<20, bytes.Repeat([]byte(" "), 1<<20-1))
		go func() {
			if r, err := http.ReadResponse(bufio.NewReader(connection), nil); err == nil {
				_ = r.Body.Close()
				answers <- r.StatusCode
			}
		}()
	}
	for range many - most { // the others are held: nothing answers them yet
		select {
		case status := <-answers:
			if status != 503 {
				t.Errorf("beyond a quarter: answered %d", status)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("a request beyond a quarter of the room was not answered")
		}
	}
	large := "[" + strings.Repeat(" ", 1<<20-len(oneRecord)-1) + oneRecord[1:]
	for range 5 {
		if r := c.postText(t, "/v1/telemetry", large, "Authorization", "ApiKey "+other); r.status != 202 {
			t.Errorf("another tenant: answered %d %s", r.status, r.body)
		}
	}
}

func TestTenantGetsAtMostQuarterOfConnections(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{Connections: 8})
	other := c.another(t)
	c.silent(t, 100, nil)
	c.silent(t, 100, nil)
	c.inHand(t, 2)
	if r := c.postText(t, "/v1/telemetry", oneRecord); r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("a third request: answered %d %s", r.status, r.body)
	}
	if r := c.postText(t, "/v1/telemetry", oneRecord, "Authorization", "ApiKey "+other); r.status != 202 {
		t.Errorf("another tenant: answered %d %s", r.status, r.body)
	}
}

// Over gRPC a message has room before it is read, and streams without a message
// are their tenant's own trouble.
func TestSilentStreamsHoldOnlyTheirTenantsRoom(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	other := c.another(t)
	connection := c.dial(t)
	few := int(c.room.mostBytes / (2 * DefaultBodyBytes))
	ctx, cancel := context.WithCancel(c.ctx(t))
	defer cancel()
	for range few {
		if _, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/"+traceSignal.service+"/Export"); err != nil {
			t.Fatal(err)
		}
	}
	c.inHand(t, few)
	one := func() ptraceotlp.ExportRequest {
		traces := ptrace.NewTraces()
		traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		return ptraceotlp.NewExportRequestFromTraces(traces)
	}
	client := ptraceotlp.NewGRPCClient(connection)
	_, err := client.Export(c.ctx(t), one())
	retry := slices.ContainsFunc(status.Convert(err).Details(), func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok })
	if status.Code(err) != codes.Unavailable || !retry {
		t.Errorf("the same tenant: %v", err)
	}
	for range 10 {
		if _, err := client.Export(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", other), one()); err != nil {
			t.Errorf("another tenant: %v", err)
		}
	}
	cancel()
	c.inHand(t, 0)
	if _, err := client.Export(c.ctx(t), one()); err != nil {
		t.Errorf("once they have ended: %v", err)
	}
	c.inHand(t, 0)
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	if c.room.left != DefaultRequestBytes {
		t.Errorf("%d bytes of room are left of %d", c.room.left, DefaultRequestBytes)
	}
}

// TestRoomRemainsBesideFiveGreedyTenants: each takes all that it can, and another one posts.
func TestRoomRemainsBesideFiveGreedyTenants(t *testing.T) {
	t.Parallel()
	r := newRoom(Limits{}.withDefaults())
	for n := range 5 {
		greedy := &share{room: r, tenant: fmt.Sprint("greedy ", n)}
		for greedy.reserve(64 << 10) {
		}
	}
	modest := &share{room: r, tenant: "modest"}
	if !modest.reserve(2 * DefaultBodyBytes) {
		t.Errorf("of %d bytes %d are left, and a tenant that holds nothing may not take a body", DefaultRequestBytes, r.left)
	}
	if alone := (&share{room: newRoom(Limits{}.withDefaults())}); !alone.reserve(DefaultRequestBytes / tenantPart) {
		t.Error("a tenant that is alone may not have its part")
	}
}

func TestShareReturnsItsRoom(t *testing.T) {
	t.Parallel()
	r := newRoom(Limits{BodyBytes: 1, Expansion: 8, RequestBytes: 40 << 20, Connections: 40})
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for range 1000 {
				s := &share{room: r}
				if s.enter(fmt.Sprint(n%2)) && s.reserve(4<<20) {
					s.shrink(1 << 20)
					s.reserve(1 << 20)
				}
				s.giveBack()
			}
		})
	}
	all.Wait()
	if r.left != 40<<20 || len(r.tenants) != 0 {
		t.Errorf("%d bytes are left, and %v holds some", r.left, r.tenants)
	}
	one, two := &share{room: r, tenant: "a"}, &share{room: r, tenant: "b"}
	if !one.reserve(10<<20) || one.reserve(1) || !two.reserve(10<<20) {
		t.Error("a tenant may not have a quarter, or may have more")
	}
}

func TestLimitsAreValidated(t *testing.T) {
	t.Parallel()
	for flag, limits := range map[string]Limits{
		"--limit-requests":    {RequestBytes: 9*DefaultBodyBytes - 1},
		"--limit-expansion":   {Expansion: 7},
		"--limit-connections": {Connections: -1},
		"--limit-values":      {Values: -1},
	} {
		if err := limits.Validate(); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: the error is %v", flag, err)
		}
	}
	for _, limits := range []Limits{{}, {RequestBytes: 256 << 20}, {BodyBytes: 100 << 20}, {Expansion: 8}} {
		if err := limits.Validate(); err != nil {
			t.Errorf("%+v: %v", limits, err)
		}
	}
	for _, limits := range []Limits{{}, {BodyBytes: 100 << 20}, {Expansion: 40}} {
		if full := limits.withDefaults(); full.RequestBytes < tenantPart*full.largestRequest() {
			t.Errorf("%+v: a quarter of %d bytes is less than a request may take: %d", limits, full.RequestBytes, full.largestRequest())
		}
	}
}

// What is common to the records of a small body makes much of it.
func TestMemoryMadeOfRequestIsBounded(t *testing.T) {
	c := newCollector(t, Limits{}) // alone, since it measures what is allocated
	const records, size = 10_000, 100 << 10
	padding := strings.Repeat("x", size)
	spans := inField(1, inField(1, inField(1, text(1, "k"), inField(2, text(1, padding)))), inField(2, bytes.Repeat(signalRecords[0].good, records)))
	points := inField(1, inField(2, inField(2, text(1, padding), inField(5, bytes.Repeat(inField(1), records)))))
	spansInJSON := `{"resourceSpans":[{"resource":{"attributes":[{"key":"k","value":{"stringValue":"` + padding + `"}}]},"scopeSpans":[{"spans":[{}` + strings.Repeat(",{}", records-1) + `]}]}]}`
	composite := `{"type":"Composite","data":{"k":"` + padding + `","allMonitoringData":[{"type":"Span"}` + strings.Repeat(`,{"type":"Span"}`, records-1) + `]}}`
	for name, test := range map[string]struct {
		path, mediaType, body string
		status                int
		partly                bool
	}{
		"resource":         {"/v1/traces", "application/x-protobuf", string(spans), 200, true},
		"metric":           {"/v1/metrics", "application/x-protobuf", string(points), 200, true},
		"resource in JSON": {"/v1/traces", "application/json", spansInJSON, 200, true},
		"composite":        {"/v1/composite-monitoring-data", "application/json", composite, 413, false},
	} {
		held, answered := c.held(t, test.path, test.mediaType, []byte(test.body))
		taken := len(c.stream.records)
		c.stream.records = nil
		said := strings.Contains(answered.Body.String(), "would take more than 83886080 bytes")
		// The bound, twice for what is left of the last piece, and the draft.
		if held > 256<<20 || answered.Code != test.status || !said || (taken > 0) != test.partly || taken > 8*DefaultBodyBytes/size {
			t.Errorf("%s: %d MiB were allocated, %d records came through, answered %d %.200q", name, held>>20, taken, answered.Code, answered.Body)
		}
		if c.room.left != DefaultRequestBytes {
			t.Errorf("%s: %d bytes of room are left", name, c.room.left)
		}
	}
	// An honest resource of some kilobytes may repeat as often as it does.
	honest := inField(1, inField(1, inField(1, text(1, "k"), inField(2, text(1, padding[:7<<10])))), inField(2, bytes.Repeat(signalRecords[0].good, records)))
	r := c.post(t, "/v1/traces", bytes.NewReader(honest), "Content-Type", "application/x-protobuf")
	if r.status != 200 || len(r.body) > 0 || len(c.stream.records) != records {
		t.Errorf("an honest resource: answered %d %.200q, %d records", r.status, r.body, len(c.stream.records))
	}
}
