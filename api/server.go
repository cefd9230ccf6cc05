package api

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"golang.org/x/time/rate"

	"millrace/internal/requestid"
	"millrace/internal/tracing"
)

// Ingester makes stream records durable.
type Ingester interface {
	// Ingest returns without error once all records, which are a tenant's, are durable,
	// and the batches in which they are. After an error some of them may be; the
	// agent's retry of them is harmless.
	Ingest(ctx context.Context, tenant string, records [][]byte) ([]requestid.Batch, error)
}

// Settings are what a Server is made of.
type Settings struct {
	Region  string // stands in every record
	Limits  Limits
	Origins Origins // of pages that may post
	Tracer  *tracing.Tracer
}

// Server takes telemetry. It is safe for concurrent use.
type Server struct {
	region   string
	limits   Limits
	origins  Origins
	tracer   *tracing.Tracer
	keys     *Keys
	now      func() time.Time // when a request was received
	ingester Ingester
	accounts accounts
	room     *room
	decoders slots
	outage   rate.Sometimes // says in the log that records were not taken
	requests requests
}

// New returns a Server. The settings must be valid.
func New(settings Settings, keys *Keys, ingester Ingester) *Server {
	limits := settings.Limits.withDefaults()
	regionInfo.WithLabelValues(settings.Region).Set(1)
	return &Server{
		region: settings.Region, limits: limits, origins: settings.Origins, tracer: settings.Tracer, keys: keys, now: time.Now, ingester: ingester,
		accounts: accounts{limits: limits, quotas: keys.Quota, now: time.Now},
		room:     newRoom(limits), decoders: make(slots, 2*runtime.GOMAXPROCS(0)), outage: rate.Sometimes{Interval: time.Second},
		requests: requests{collector: newCollectorID()},
	}
}

// retryAfter is when an agent should retry after an outage. Agents back off on
// their own.
const retryAfter = time.Second

// route is a path that takes telemetry.
type route struct {
	path  string
	name  string           // in metrics
	forms map[string]*form // by media type; "" holds where none is given
}

func routes() []route {
	array := jsonForm(http.StatusAccepted, telemetryArray)
	lines := jsonForm(http.StatusAccepted, telemetryLines)
	agent := jsonForm(http.StatusOK, thundra)
	return append(otlpRoutes(), []route{
		{"/v1/telemetry", "telemetry", map[string]*form{
			"application/json": array, "application/x-ndjson": lines, "application/ndjson": lines, "application/jsonl": lines,
			"": jsonForm(http.StatusAccepted, telemetrySniffed),
		}},
		{"/v1/monitoring-data", "thundra", map[string]*form{"application/json": agent, "": agent}},
		{"/v1/composite-monitoring-data", "thundra", map[string]*form{"application/json": agent, "": agent}},
	}...)
}

// Handler serves the routes that take telemetry, and answers 404 to all others.
// It is no http.ServeMux, which would redirect a path with doubled slashes.
func (s *Server) Handler() http.Handler {
	byPath := map[string]route{}
	for _, r := range routes() {
		byPath[r.path] = r
	}
	return withOrigins(s.origins, http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		to, known := byPath[cleanPath(request.URL.Path)]
		id := s.requests.next()
		setRequestID(w, id)
		switch {
		case !known:
			(&refusal{status: http.StatusNotFound, reason: "no such path"}).write(w, plainForm)
		case len(s.origins) > 0 && isPreflight(request):
			answerPreflight(w, request)
		default:
			s.serve(to, w, request, id)
		}
	}))
}

// plainForm answers who cannot be answered in a form of his own.
var plainForm = &form{mediaType: "application/json", refused: jsonRefusal}

// HTTP returns a server of the handler whose clients cannot hold connections
// by being slow.
func (s *Server) HTTP(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute, // from the head of a request to its answer's end
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

// serve answers one post.
func (s *Server) serve(to route, w http.ResponseWriter, r *http.Request, id *requestid.ID) {
	began := time.Now()
	held := &share{room: s.room}
	defer held.giveBack()

	answerIn, refused := to.form(r)
	tenant := ""
	if refused == nil {
		tenant, refused = s.admit(to.name, apiKey(r.Header.Get("Authorization"), r.Header.Get("X-Api-Key")), s.announced(r))
	}
	if refused == nil && !held.enter(tenant) {
		refused = full()
	}
	var body []byte
	if refused == nil {
		account := s.accounts.of(tenant)
		body, refused = readBody(w, r, s.limits.BodyBytes, held, &bill{account, s.announced(r)}, s.decoders)
		if refused != nil {
			account.waste(1)
		}
	}
	var b *batch
	if refused == nil {
		b = newBatch(s.limits, tenant, s.region, s.now(), body, nil)
		b.held, b.once.key, b.id = held, r.Header.Get("Idempotency-Key"), id
		refused = s.traced(r.Context(), to.name, propagation.HeaderCarrier(r.Header), began, answerIn, b)
	}
	if refused != nil {
		refused.write(w, answerIn)
		countRequest(to.name, refused.status, began)
		logAnswer(r.Context(), id, to.name, refused.status)
		return
	}
	status, text := answerIn.taken(b)
	setRequestID(w, id) // with the batches
	writeBody(w, status, answerIn.mediaType, text)
	countRequest(to.name, status, began)
	logAnswer(r.Context(), id, to.name, status)
}

// form chooses how the request is read and answered; there always is one to
// refuse it in.
func (to route) form(r *http.Request) (*form, *refusal) {
	fallback := to.forms[""]
	if fallback == nil {
		fallback = to.forms["application/json"]
	}
	given := r.Header.Get("Content-Type")
	mediaType := mediaTypeOf(given)
	chosen := to.forms[mediaType]
	if mediaType == "" && given != "" {
		chosen = nil // malformed, which is not the same as missing
	}
	if chosen != nil {
		fallback = chosen
	}
	if r.Method != http.MethodPost {
		return fallback, &refusal{
			status: http.StatusMethodNotAllowed, reason: "the method is not POST", accept: [2]string{"Allow", http.MethodPost},
		}
	}
	if chosen == nil {
		types := slices.DeleteFunc(slices.Sorted(maps.Keys(to.forms)), func(t string) bool { return t == "" })
		return fallback, &refusal{
			status: http.StatusUnsupportedMediaType, reason: "Content-Type is not " + strings.Join(types, " or "),
			accept: [2]string{"Accept-Post", strings.Join(types, ", ")},
		}
	}
	return chosen, nil
}

// apiKey finds the key that a request came with: Authorization: ApiKey K or
// Bearer K, else x-api-key: K.
func apiKey(authorization, header string) string {
	scheme, key, _ := strings.Cut(authorization, " ")
	if strings.EqualFold(scheme, "ApiKey") || strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return header
}

// announced is how many bytes of a body are said to come. One that is larger
// than the limit is refused unread.
func (s *Server) announced(r *http.Request) int64 {
	if r.ContentLength > int64(s.limits.BodyBytes) {
		return 0
	}
	return max(0, r.ContentLength)
}

// admit decides who comes in, before anything is read of a body of which so
// many bytes are announced.
func (s *Server) admit(protocol, key string, announced int64) (tenant string, refused *refusal) {
	if key == "" {
		return "", &refusal{status: http.StatusUnauthorized, reason: "no API key: send Authorization: ApiKey <key>"}
	}
	tenant, err := s.keys.Tenant(key)
	switch {
	case errors.Is(err, ErrDisabledKey):
		return "", &refusal{status: http.StatusForbidden, reason: err.Error()}
	case err != nil:
		return "", &refusal{status: http.StatusUnauthorized, reason: err.Error()}
	}
	if wait, of := s.accounts.of(tenant).enter(announced); wait > 0 {
		return "", overQuota(protocol, of, wait)
	}
	return tenant, nil
}

// decode reads the records of a request.
func (s *Server) decode(in *form, b *batch) (err error) {
	s.decoders.do(func() {
		b.draft = drafts.Get().(*draft)
		defer b.draft.release()
		err = in.decode(b)
	})
	return err
}

// traced is accept, in a span if the request is to be traced, as its header may ask.
func (s *Server) traced(ctx context.Context, protocol string, header propagation.TextMapCarrier, began time.Time, in *form, b *batch) *refusal {
	ctx, span := s.tracer.Request(ctx, protocol, header, began)
	b.trace = tracing.Text(span)
	refused := s.accept(ctx, protocol, in, b)
	if span.IsRecording() {
		status := http.StatusOK
		if refused != nil {
			status = refused.status
			span.SetStatus(codes.Error, http.StatusText(status))
		}
		span.SetAttributes(attribute.Int("http.response.status_code", status), attribute.Int("millrace.records", len(b.records)))
	}
	span.End()
	return refused
}

// accept reads the records of a request and makes the good ones durable.
func (s *Server) accept(ctx context.Context, protocol string, in *form, b *batch) *refusal {
	account := s.accounts.of(b.tenant)
	err := s.decode(in, b)
	account.arrived(b.copied())
	if err != nil {
		account.waste(b.cost())
		b.count(protocol, unread)
		if refused := overfull(err); refused != nil {
			return refused
		}
		return &refusal{status: http.StatusBadRequest, reason: err.Error()}
	}
	if len(b.records) == 0 {
		account.waste(b.cost())
		b.count(protocol, accepted)
		if len(b.rejected) > 0 {
			return &refusal{status: http.StatusBadRequest, reason: "no record can be taken", rejected: b.rejections()}
		}
		return nil
	}
	if wait := account.spend(b.cost()); wait > 0 {
		b.count(protocol, throttled)
		return overQuota(protocol, ofRecords, wait)
	}
	batches, err := s.ingester.Ingest(ctx, b.tenant, b.records)
	b.id.Batches = batches
	if err != nil {
		b.count(protocol, unavailable)
		s.outage.Do(func() {
			slog.WarnContext(ctx, "records were not made durable, agents are told to come again", "request", b.id, "protocol", protocol, "records", len(b.records), "error", err)
		})
		return &refusal{status: http.StatusServiceUnavailable, reason: "the records could not be made durable", retry: retryAfter}
	}
	b.count(protocol, accepted)
	return nil
}
