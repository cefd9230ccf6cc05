package api

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// transcoder writes a request in JSON as the same request in protobuf, in one
// pass, as ProtoJSON and OTLP's own rules say (OTLP 1.x, 'JSON Protobuf
// Encoding'). From there on both encodings go one way.
//
// JSON that breaks off costs the whole request. A value that its field cannot
// hold costs the record it stands in, or those that have it in common: what was
// written of that message gives way to a fault, which no decoder takes and which
// says why.
type transcoder struct {
	scanner
	dst     []byte
	begin   int // in dst, of what is bounded by most; -1 around the records
	most    int // bytes of a record, or of what records have in common
	dropped []string
}

// errValue says what is wrong with a value.
type errValue struct{ what string }

func (e errValue) Error() string { return e.what }

// transcode appends the request that JSON holds to dst, and names what it has
// that OTLP has dropped.
func transcode(dst, request []byte, m *jsonMessage, most int) (encoded []byte, dropped []string, err error) {
	dst = slices.Grow(dst, len(request)*3/4) // protobuf is hardly ever longer
	t := &transcoder{scanner: scanner{data: request}, dst: dst, begin: -1, most: most}
	t.mark()
	t.space()
	if err = t.message(m, maxMessageDepth); err == nil {
		err = t.end()
	}
	return t.dst, t.dropped, err
}

// message writes the fields of the message that comes next.
func (t *transcoder) message(m *jsonMessage, depth int) error {
	if depth == 0 {
		return errValue{fmt.Sprintf("it is nested more than %d deep", maxMessageDepth)}
	}
	if !t.accept('{') {
		return errValue{"a " + m.name + " is not an object"}
	}
	for first := true; ; first = false {
		name, err := t.member(first)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		t.space()
		f := m.field(name)
		if f != nil && f.dropped {
			t.drop(f)
		}
		switch {
		case f == nil || f.number == 0: // unknown ones are ignored
			_, err = t.value()
		case m.common != 0 && !f.leads():
			err = t.guarded(m.common, func() error { return t.field(f, depth) })
		default:
			err = t.field(f, depth)
		}
		if err != nil {
			return err
		}
	}
}

// drop notes a name that OTLP has dropped, once.
func (t *transcoder) drop(f *jsonField) {
	const most = 8
	what := f.name + " (ignored)"
	if f.number != 0 {
		what = f.name + " (taken as " + f.today + ")"
	}
	for _, known := range t.dropped {
		if known == what {
			return
		}
	}
	if len(t.dropped) < most {
		t.dropped = append(t.dropped, what)
	}
}

// guarded writes what stands alone. If a value in it is wrong, there is a fault
// instead, in a field of the message around it.
func (t *transcoder) guarded(in protowire.Number, write func() error) error {
	at, begin := t.at, len(t.dst)
	t.begin = begin
	err := write()
	t.begin = -1
	wrong, isValue := errors.AsType[errValue](err)
	if !isValue {
		return err
	}
	t.at, t.dst = at, t.dst[:begin]
	t.dst = protowire.AppendTag(t.dst, in, protowire.BytesType)
	t.dst = protowire.AppendBytes(t.dst, appendFault(nil, wrong.what))
	_, err = t.value()
	return err
}

// field writes the value that comes next.
func (t *transcoder) field(f *jsonField, depth int) error {
	switch {
	case t.peek() == 'n': // null, which means that it is not there
		_, err := t.value()
		return err
	case !f.list:
		return t.single(f, depth)
	case !t.accept('['):
		return errValue{f.name + " is not a list"}
	}
	packed := f.of == nil && f.kind != protoreflect.StringKind && f.kind != protoreflect.BytesKind
	begin := 0
	if packed {
		begin = t.open(f.number)
	}
	for first := true; ; first = false {
		err := t.element(first)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		t.space()
		switch {
		case t.peek() == 'n' && !f.anyValue:
			_, err = t.value()
		case packed:
			err = t.scalar(f)
		case f.record:
			err = t.guarded(f.number, func() error { return t.single(f, depth) })
		default:
			err = t.single(f, depth)
		}
		if err != nil {
			return err
		}
	}
	if packed {
		t.close(begin)
	}
	return nil
}

// single writes one value with its tag.
func (t *transcoder) single(f *jsonField, depth int) error {
	if t.begin >= 0 && len(t.dst)-t.begin > t.most {
		return errValue{fmt.Sprintf("it is encoded in more than %d bytes", t.most)}
	}
	if f.of == nil {
		before := len(t.dst)
		t.dst = protowire.AppendTag(t.dst, f.number, wireTypes[f.kind])
		tagged := len(t.dst)
		err := t.scalar(f)
		if len(t.dst) == tagged {
			t.dst = t.dst[:before] // an empty id is none
		}
		return err
	}
	begin := t.open(f.number)
	if t.peek() == 'n' { // an empty value in a list
		if _, err := t.value(); err != nil {
			return err
		}
	} else if err := t.message(f.of, depth-1); err != nil {
		return err
	}
	t.close(begin)
	return nil
}

// lengthSize is the room that is left for a length, which is known only at the
// end. Four bytes hold one of 2^28, and decoders take leading zeros.
const lengthSize = 4

// open begins a field that has a length.
func (t *transcoder) open(number protowire.Number) (begin int) {
	t.dst = protowire.AppendTag(t.dst, number, protowire.BytesType)
	t.dst = append(t.dst, make([]byte, lengthSize)...)
	return len(t.dst)
}

// close writes the length of a field. Only a short one moves, so that deep
// nesting cannot move much again and again.
func (t *transcoder) close(begin int) {
	size := len(t.dst) - begin
	at := begin - lengthSize
	if size < 1<<7 {
		t.dst[at] = byte(size)
		t.dst = append(t.dst[:at+1], t.dst[begin:]...)
		return
	}
	for i := range lengthSize {
		t.dst[at+i] = byte(size>>(7*i))&0x7f | 0x80
	}
	t.dst[begin-1] &= 0x7f
}

// wireTypes are how kinds that are no messages are encoded.
var wireTypes = map[protoreflect.Kind]protowire.Type{
	protoreflect.StringKind: protowire.BytesType, protoreflect.BytesKind: protowire.BytesType,
	protoreflect.DoubleKind: protowire.Fixed64Type, protoreflect.Fixed64Kind: protowire.Fixed64Type, protoreflect.Sfixed64Kind: protowire.Fixed64Type,
	protoreflect.Fixed32Kind: protowire.Fixed32Type,
	protoreflect.BoolKind:    protowire.VarintType, protoreflect.EnumKind: protowire.VarintType,
	protoreflect.Int32Kind: protowire.VarintType, protoreflect.Int64Kind: protowire.VarintType,
	protoreflect.Uint32Kind: protowire.VarintType, protoreflect.Uint64Kind: protowire.VarintType, protoreflect.Sint32Kind: protowire.VarintType,
}

// scalar writes a value that is no message, without its tag.
func (t *transcoder) scalar(f *jsonField) error {
	value, err := t.value()
	if err != nil {
		return err
	}
	text, quoted := value, value[0] == '"'
	if quoted {
		text = unquote(value[1 : len(value)-1])
	}
	what := ""
	switch f.kind {
	case protoreflect.StringKind:
		if t.dst = protowire.AppendBytes(t.dst, text); !quoted {
			what = "is not a string"
		}
	case protoreflect.BytesKind:
		what = t.bytes(f, text, quoted)
	case protoreflect.BoolKind:
		if what = "is neither true nor false"; string(value) == "true" || string(value) == "false" {
			t.dst, what = append(t.dst, map[byte]byte{'t': 1, 'f': 0}[value[0]]), ""
		}
	case protoreflect.DoubleKind:
		what = t.double(text)
	default:
		what = t.integer(f, text, quoted)
	}
	if what != "" {
		return errValue{f.name + " " + what}
	}
	return nil
}

// bytes writes an id, which is in hexadecimal, or base64 of either alphabet,
// padded or not.
func (t *transcoder) bytes(f *jsonField, text []byte, quoted bool) (what string) {
	if f.idSize > 0 {
		if len(text) == 0 && quoted {
			return ""
		}
		id := make([]byte, hex.DecodedLen(len(text)))
		if n, err := hex.Decode(id, text); err != nil || n != f.idSize || !quoted {
			return fmt.Sprintf("is not %d hexadecimal digits", hex.EncodedLen(f.idSize))
		}
		t.dst = protowire.AppendBytes(t.dst, id)
		return ""
	}
	text = bytes.Map(func(r rune) rune {
		switch r {
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, bytes.TrimRight(text, "="))
	decoded, err := base64.RawStdEncoding.AppendDecode(nil, text)
	if err != nil || !quoted {
		return "is not base64"
	}
	t.dst = protowire.AppendBytes(t.dst, decoded)
	return ""
}

// double writes a number, in quotes or not, or one of the words that stand for
// others.
func (t *transcoder) double(text []byte) (what string) {
	number, err := math.NaN(), error(nil)
	switch string(text) {
	case "NaN":
	case "Infinity":
		number = math.Inf(1)
	case "-Infinity":
		number = math.Inf(-1)
	default:
		if !isNumber(text) {
			return "is not a number"
		}
		if number, err = strconv.ParseFloat(string(text), 64); err != nil {
			return "is beyond the numbers of 64 bits"
		}
	}
	t.dst = protowire.AppendFixed64(t.dst, math.Float64bits(number))
	return ""
}

// integer writes a whole number, in quotes or not, with an exponent or zeros
// behind the point or without; for an enum its name will do.
func (t *transcoder) integer(f *jsonField, text []byte, quoted bool) (what string) {
	if f.enum != nil && quoted {
		if value := f.enum.ByName(protoreflect.Name(text)); value != nil {
			t.dst = protowire.AppendVarint(t.dst, uint64(value.Number()))
			return ""
		}
	}
	if !isNumber(text) {
		if f.enum != nil {
			return "is not one of its names"
		}
		return "is not a number"
	}
	d, ok := parseDecimal(text, 0)
	signed, fits := d.signed()
	switch {
	case ok && !d.exact:
		return "is not a whole number"
	case !ok || !f.holds(d, signed, fits):
		return "is beyond its type"
	}
	number := uint64(signed)
	if !fits {
		number = d.magnitude
	}
	switch wireTypes[f.kind] {
	case protowire.Fixed64Type:
		t.dst = protowire.AppendFixed64(t.dst, number)
	case protowire.Fixed32Type:
		t.dst = protowire.AppendFixed32(t.dst, uint32(number))
	default:
		if f.kind == protoreflect.Sint32Kind {
			number = protowire.EncodeZigZag(signed)
		}
		t.dst = protowire.AppendVarint(t.dst, number)
	}
	return ""
}

// holds reports whether the field's type holds a number; signed is it where that
// fits.
func (f *jsonField) holds(d decimal, signed int64, fits bool) bool {
	switch f.kind {
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		return fits
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.EnumKind:
		return fits && signed >= math.MinInt32 && signed <= math.MaxInt32
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return fits && signed >= 0 && signed <= math.MaxUint32
	}
	return !d.negative || d.magnitude == 0
}

// faultTag is no tag of protobuf's: it begins a fault.
const faultTag = 0

// faultMark follows the tag. It is random, so that no request in protobuf can
// hold a fault of its own making, and have the collector say what it likes.
var faultMark = rand.Text()

// appendFault appends what stands in the place of a message that cannot be
// written.
func appendFault(dst []byte, why string) []byte {
	return protowire.AppendString(append(dst, faultTag), faultMark+why)
}

// faultOf returns what the fault says that data begins with.
func faultOf(data []byte) (why string, ok bool) {
	if len(data) == 0 || data[0] != faultTag {
		return "", false
	}
	text, n := protowire.ConsumeBytes(data[1:])
	if n < 0 {
		return "", false
	}
	text, ok = bytes.CutPrefix(text, []byte(faultMark))
	return string(bytes.ToValidUTF8(text, []byte("\uFFFD"))), ok
}
