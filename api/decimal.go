package api

import (
	"bytes"
	"math"
	"strconv"
)

// decimal is a JSON number, times a power of ten, cut off behind the point.
type decimal struct {
	magnitude uint64
	negative  bool
	exact     bool // nothing was cut off
}

// maxExponent bounds the exponents that are looked at. A body of 10 MiB cannot
// have enough digits to make up for a larger one.
const maxExponent = 1 << 30

// parseDecimal reads a valid JSON number without rounding: floats have 53 bits,
// and times in nanoseconds need 61. It is false beyond 64 bits.
func parseDecimal(number []byte, shift int) (d decimal, ok bool) {
	if len(number) > 0 && number[0] == '-' {
		d.negative, number = true, number[1:]
	}
	digits, exponent := number, 0
	if at := bytes.IndexAny(number, "eE"); at >= 0 {
		digits = number[:at]
		var err error
		if exponent, err = strconv.Atoi(string(number[at+1:])); err != nil || exponent > maxExponent || exponent < -maxExponent {
			// So large or so small that the sign of the exponent decides.
			exponent = maxExponent
			if number[at+1] == '-' {
				exponent = -maxExponent
			}
		}
	}
	whole, fraction, _ := bytes.Cut(digits, []byte("."))
	before := len(whole) + exponent + shift // digits before the point
	d.exact = true
	at := 0
	for _, part := range [2][]byte{whole, fraction} {
		for _, c := range part {
			switch {
			case at >= before:
				d.exact = d.exact && c == '0'
			case !d.push(c - '0'):
				return d, false
			}
			at++
		}
	}
	for ; at < before && d.magnitude > 0; at++ {
		if !d.push(0) {
			return d, false
		}
	}
	return d, true
}

// push appends a digit.
func (d *decimal) push(digit byte) bool {
	if d.magnitude > (math.MaxUint64-uint64(digit))/10 {
		return false
	}
	d.magnitude = 10*d.magnitude + uint64(digit)
	return true
}

// signed returns the number where 64 bits with a sign hold it.
func (d decimal) signed() (int64, bool) {
	if d.negative {
		return -int64(d.magnitude), d.magnitude <= 1<<63
	}
	return int64(d.magnitude), d.magnitude < 1<<63
}

// isNumber reports whether text is a JSON number.
func isNumber(text []byte) bool {
	s := scanner{data: text}
	return s.number() == nil && s.at == len(text)
}
