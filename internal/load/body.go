package load

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"

	"millrace/internal/telemetry"
)

// Append appends record n as POST /v1/telemetry takes it: a JSON object on
// one line, about 450 bytes.
func (s *Source) Append(dst []byte, n uint64) []byte {
	dst = append(dst, `{"id":"`...)
	dst = s.appendID(dst, n)
	dst = append(dst, `","type":"`...)
	dst = append(dst, s.Type(n)...)
	dst = append(dst, `","timestamp":"`...)
	dst = s.Timestamp(n).UTC().AppendFormat(dst, telemetry.TimestampLayout)
	dst = append(dst, `",`...)
	return append(s.AppendBody(dst, n), '}')
}

var (
	services   = []string{"checkout", "catalog", "payment", "shipping", "search", "identity"}
	routes     = []string{"/orders/{id}", "/orders", "/products/{id}", "/carts/{id}/items", "/login", "/search"}
	methods    = []string{"GET", "GET", "GET", "POST", "PUT", "DELETE"}
	zones      = []string{"eu-west-1a", "eu-west-1b", "eu-west-1c"}
	severities = []string{"INFO", "INFO", "INFO", "WARN", "ERROR", "DEBUG"}
	messages   = []string{
		"order accepted, waiting for the payment provider to confirm the amount",
		"cache miss, read the product from the database instead",
		"retrying the call after the upstream closed the connection early",
		"user signed in with a second factor from a device that is known",
	}
	instruments = []string{"http.server.request.duration", "process.memory.usage", "db.client.connection.count", "queue.depth"}
)

// AppendBody appends the members of record n beside id, type and timestamp,
// without braces around them.
func (s *Source) AppendBody(dst []byte, n uint64) []byte {
	r := rand.New(rand.NewPCG(n, 3))
	b := body{dst, r}
	kind := s.Type(n)
	b.raw(`"trace_id":"`).hex(16).raw(`","span_id":"`).hex(8).raw(`"`)
	if s.Bad(n) {
		b.raw(`,"duration":"` + BadDuration + `"`)
	} else if kind == "span" || kind == "invocation" {
		b.raw(`,"duration":`).number(r.Uint64N(900_000_000))
	}
	switch kind {
	case "log", "event":
		b.raw(`,"severity_text":"`).pick(severities).raw(`","body":{"text":"`).pick(messages).raw(`"}`)
	case "metric":
		b.raw(`,"name":"`).pick(instruments).raw(`","unit":"ms","value":`).number(r.Uint64N(100_000))
	default:
		b.raw(`,"parent_span_id":"`).hex(8).raw(`","kind":"Server","name":"`).pick(methods).raw(` `).pick(routes)
		b.raw(`","status":{"code":"Ok"}`)
	}
	b.raw(`,"attributes":{"http.request.method":"`).pick(methods).raw(`","http.route":"`).pick(routes)
	b.raw(`","http.response.status_code":`).number(200 + r.Uint64N(4)*100)
	b.raw(`},"resource":{"attributes":{"service.name":"`).pick(services)
	b.raw(`","cloud.availability_zone":"`).pick(zones).raw(`"}}`)
	if s.Padding != nil {
		if size := s.Padding(n); size > 0 {
			b.raw(`,"padding":"`).text(size).raw(`"`)
		}
	}
	return b.dst
}

// body writes JSON that needs no quoting.
type body struct {
	dst    []byte
	random *rand.Rand
}

func (b *body) raw(text string) *body {
	b.dst = append(b.dst, text...)
	return b
}

func (b *body) pick(from []string) *body { return b.raw(from[b.random.IntN(len(from))]) }

func (b *body) number(n uint64) {
	b.dst = strconv.AppendUint(b.dst, n, 10)
}

// text writes that many random letters, which pack badly.
func (b *body) text(size int) *body {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"
	for range size {
		b.dst = append(b.dst, letters[b.random.Uint32()%uint32(len(letters))])
	}
	return b
}

// hex writes a random id of size bytes.
func (b *body) hex(size int) *body {
	var id [16]byte
	for i := range size {
		id[i] = byte(b.random.Uint32())
	}
	b.dst = hex.AppendEncode(b.dst, id[:size])
	return b
}
