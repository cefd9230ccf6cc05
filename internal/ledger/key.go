package ledger

import (
	"path"
	"strconv"
	"strings"
	"time"

	"millrace/internal/telemetry"
)

// RangeOf reads from the key of an entry which records of a shard it has: those
// from First to Last, of a stream that was made at that time. It is false for
// any other entry.
func RangeOf(key string, created time.Time) (r telemetry.Range, ok bool) {
	place, err := placeOf(key)
	if err != nil {
		return r, false
	}
	folder, file := path.Split(place)
	name, ok := strings.CutSuffix(file, suffix)
	numbers, of, dated := strings.Cut(name, ".")
	first, last, pair := strings.Cut(numbers, "-")
	if !ok || !pair || dated && of != strconv.FormatInt(created.Unix(), 10) || !isNumber(first) || !isNumber(last) {
		return r, false
	}
	return telemetry.Range{StreamCreated: created, Shard: path.Base(folder), First: first, Last: last}, true
}

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
