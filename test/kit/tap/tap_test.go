package tap

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTapSeesSavedRecords(t *testing.T) {
	t.Parallel()
	tap := &Tap{}
	at := time.Date(2033, 3, 3, 0, 0, 0, 0, time.UTC)
	var seen []string
	tap.Watch("acme", func(s Saved) {
		seen = append(seen, fmt.Sprintf("%s %v %v", s.ID, at.Sub(s.Received), s.Before))
	})
	document := func(id, tenant string) string {
		return `{"create":{}}` + "\n" + `{"indexed_at":"x","received_at":"2033-03-02T23:59:58.500Z","tenant":"` + tenant + `","id":"` + id + `"}` + "\n"
	}
	request := document("1", "acme") + document("2", "acme") + document("3", "other") + document("4", "acme")
	answer := `{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409,"error":{}}},{"create":{"status":201}},{"create":{"status":400}}]}`
	if err := tap.note([]byte(request), []byte(answer), at); err != nil || strings.Join(seen, ",") != "1 1.5s false,2 1.5s true" {
		t.Errorf("seen: %v, %v", seen, err)
	}
	if err := tap.note([]byte(document("1", "acme")), []byte(answer), at); err == nil {
		t.Error("an answer to something else is taken")
	}
}
