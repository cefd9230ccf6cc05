package spark

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseReadsGroupsAndTotals(t *testing.T) {
	t.Parallel()
	const printed = `{"group": "type", "value": "log", "records": 3, "ids": 2}
{"group": "hour", "value": "2026-11-23 13", "records": 3, "ids": 2}
{"records": 3, "ids": 2, "foreign": 4, "unreadable": 1}
`
	got, err := parse(strings.NewReader(printed))
	if want := "{[{type log 3 2} {hour 2026-11-23 13 3 2}] 3 2 4 1 map[]}"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("it reads %v, %v, and it is %s", got, err, want)
	}
	if _, err := parse(strings.NewReader(printed[:100])); err == nil {
		t.Error("a job that ended early is taken for a whole one")
	}
}
