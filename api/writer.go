package api

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"millrace/internal/telemetry"
)

// writer writes a JSON object from values that were decoded.
type writer struct {
	dst          []byte
	level, depth int // of the nesting, now and at its deepest
	keys         []string
}

// begin begins an object in the memory of the one before.
func (w *writer) begin() {
	w.dst, w.level, w.depth = w.dst[:0], 0, 0
	w.open('{')
}

func (w *writer) open(bracket byte) {
	w.dst = append(w.dst, bracket)
	w.level++
	w.depth = max(w.depth, w.level)
}

func (w *writer) close(bracket byte) {
	w.dst = append(w.dst, bracket)
	w.level--
}

// comma separates what comes from what was.
func (w *writer) comma() {
	if last := w.dst[len(w.dst)-1]; last != '{' && last != '[' {
		w.dst = append(w.dst, ',')
	}
}

// name begins a member whose name needs no quoting.
func (w *writer) name(name string) {
	w.comma()
	w.dst = append(w.dst, '"')
	w.dst = append(w.dst, name...)
	w.dst = append(w.dst, `":`...)
}

// fragment is members that many records have in common.
type fragment struct {
	members []byte
	depth   int
}

// end ends an object that is a fragment of others.
func (w *writer) end() fragment { return fragment{slices.Clone(w.dst[1:]), w.depth} }

func (w *writer) fragment(f fragment) {
	if len(f.members) > 0 {
		w.comma()
		w.dst = append(w.dst, f.members...)
		w.depth = max(w.depth, f.depth)
	}
}

// object writes an object with what the function writes into it, unless that
// is nothing.
func (w *writer) object(name string, write func()) {
	before := len(w.dst)
	w.name(name)
	w.open('{')
	empty := len(w.dst)
	write()
	if len(w.dst) == empty {
		w.level--
		w.dst = w.dst[:before]
		return
	}
	w.close('}')
}

// list writes a list of objects, unless it is empty.
func (w *writer) list(name string, n int, write func(i int)) {
	if n == 0 {
		return
	}
	w.name(name)
	w.open('[')
	for i := range n {
		w.comma()
		w.open('{')
		write(i)
		w.close('}')
	}
	w.close(']')
}

func (w *writer) text(name, value string) {
	if value != "" {
		w.name(name)
		w.quote(value)
	}
}

func (w *writer) integer(name string, value int64) {
	w.name(name)
	w.dst = strconv.AppendInt(w.dst, value, 10)
}

func (w *writer) unsigned(name string, value uint64) {
	w.name(name)
	w.dst = strconv.AppendUint(w.dst, value, 10)
}

// some writes a number that is not zero.
func (w *writer) some(name string, value uint32) {
	if value != 0 {
		w.unsigned(name, uint64(value))
	}
}

// number writes a number for a field that can only hold finite ones; others
// are kept beside it.
func (w *writer) number(name string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		name = "original_" + name
	}
	w.name(name)
	w.float(value)
}

// float writes a number; JSON has no others than finite ones, so they are text.
func (w *writer) float(value float64) {
	switch {
	case math.IsNaN(value):
		w.dst = append(w.dst, `"NaN"`...)
	case math.IsInf(value, 1):
		w.dst = append(w.dst, `"Infinity"`...)
	case math.IsInf(value, -1):
		w.dst = append(w.dst, `"-Infinity"`...)
	default:
		w.dst = strconv.AppendFloat(w.dst, value, 'g', -1, 64)
	}
}

// numbers writes a list of numbers, unless it is empty.
func (w *writer) numbers(name string, n int, write func(i int)) {
	if n == 0 {
		return
	}
	w.name(name)
	w.open('[')
	for i := range n {
		w.comma()
		write(i)
	}
	w.close(']')
}

// time writes a time that a date_nanos field can hold; others are kept beside
// it as nanoseconds, and the record is taken.
func (w *writer) time(name string, value pcommon.Timestamp) {
	switch {
	case value == 0:
	case value > math.MaxInt64:
		w.text("original_"+name, strconv.FormatUint(uint64(value), 10))
	default:
		w.name(name)
		w.dst = append(w.dst, '"')
		w.dst = value.AsTime().AppendFormat(w.dst, telemetry.TimestampLayout)
		w.dst = append(w.dst, '"')
	}
}

// hex writes an id unless it is empty.
func (w *writer) hex(name string, id []byte) {
	const digits = "0123456789abcdef"
	for _, c := range id {
		if c != 0 {
			w.name(name)
			w.dst = append(w.dst, '"')
			for _, c := range id {
				w.dst = append(w.dst, digits[c>>4], digits[c&15])
			}
			w.dst = append(w.dst, '"')
			return
		}
	}
}

// attributes writes a map, unless it is empty.
func (w *writer) attributes(name string, values pcommon.Map) {
	if values.Len() > 0 {
		w.name(name)
		w.entries(values)
	}
}

// entries writes a map. A name that is there twice is told apart, see
// nameSet.apart: so are two that become equal, since protobuf's strings are
// UTF-8, which is not checked.
func (w *writer) entries(values pcommon.Map) {
	w.open('{')
	own := len(w.keys)
	var many nameSet
	for key, value := range values.All() {
		const few = 24 // so many are compared faster than hashed
		key = validText(key)
		if many == nil && (len(w.keys)-own == few || slices.Contains(w.keys[own:], key)) {
			many = nameSet{}
			for _, key := range w.keys[own:] {
				many[key] = 1
			}
		}
		if many != nil {
			key = many.apart(key)
		} else {
			w.keys = append(w.keys, key)
		}
		w.comma()
		w.quote(key)
		w.dst = append(w.dst, ':')
		w.value(value)
	}
	w.keys = w.keys[:own]
	w.close('}')
}

// validText replaces what is not UTF-8.
func validText(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// value writes a value; how deep it is nested was bounded when it was decoded.
func (w *writer) value(value pcommon.Value) {
	switch value.Type() {
	case pcommon.ValueTypeStr:
		w.quote(value.Str())
	case pcommon.ValueTypeInt:
		w.dst = strconv.AppendInt(w.dst, value.Int(), 10)
	case pcommon.ValueTypeDouble:
		w.float(value.Double())
	case pcommon.ValueTypeBool:
		w.dst = strconv.AppendBool(w.dst, value.Bool())
	case pcommon.ValueTypeBytes:
		w.dst = append(w.dst, '"')
		w.dst = base64.StdEncoding.AppendEncode(w.dst, value.Bytes().AsRaw())
		w.dst = append(w.dst, '"')
	case pcommon.ValueTypeMap:
		w.entries(value.Map())
	case pcommon.ValueTypeSlice:
		w.slice(value.Slice())
	default:
		w.dst = append(w.dst, "null"...)
	}
}

func (w *writer) slice(values pcommon.Slice) {
	w.open('[')
	for _, value := range values.All() {
		w.comma()
		w.value(value)
	}
	w.close(']')
}

// quote writes a string.
func (w *writer) quote(text string) { w.dst = appendQuoted(w.dst, validText(text)) }

// appendEscaped appends text that is UTF-8.
func appendEscaped(dst []byte, text string) []byte {
	begin := 0
	for i := range len(text) {
		if stringBytes[text[i]] != plainByte {
			dst = append(dst, text[begin:i]...)
			dst = appendEscape(dst, text[i])
			begin = i + 1
		}
	}
	return append(dst, text[begin:]...)
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
}
