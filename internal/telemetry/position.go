package telemetry

import (
	"cmp"
	"strconv"
	"strings"
)

// A position says where a document stands in a shard. In a record of its own that is the record's sequence number. In a
// container it is the number of the container with the document's place behind it, as in "4959…_3"; places are counted from
// 1. A number without a place is all of its record.

// placeMark stands between sequence number and place. No number has it: they are decimal.
const placeMark = "_"

// Position returns that of the document at a place, counted from 1, in the record with a sequence number.
func Position(sequence string, place int) string {
	return string(AppendPosition(make([]byte, 0, len(sequence)+len(placeMark)+5), sequence, place))
}

// AppendPosition appends a Position to dst.
func AppendPosition(dst []byte, sequence string, place int) []byte {
	return strconv.AppendInt(append(append(dst, sequence...), placeMark...), int64(place), 10)
}

// SequenceOf returns the sequence number of the record of the stream that a position is in.
func SequenceOf(position string) string {
	sequence, _, _ := strings.Cut(position, placeMark)
	return sequence
}

// IsPosition reports whether a text is one.
func IsPosition(text string) bool {
	sequence, place, within := strings.Cut(text, placeMark)
	return isNumber(sequence) && (!within || isNumber(place))
}

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// ComparePositions orders two positions of one shard. One without a place is equal to each place of its record, which it
// holds.
func ComparePositions(a, b string) int {
	a, placeOfA, inA := strings.Cut(a, placeMark)
	b, placeOfB, inB := strings.Cut(b, placeMark)
	if c := CompareNumbers(a, b); c != 0 || !inA || !inB {
		return c
	}
	return CompareNumbers(placeOfA, placeOfB)
}

// CompareNumbers orders two decimal numbers. Sequence numbers have 56 digits and more, too many for any integer type.
func CompareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}
