package requestid_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/internal/requestid"
)

var (
	at    = time.Date(2026, 11, 23, 1, 2, 3, int(4*time.Millisecond), time.UTC)
	plain = uuid.MustParse("0193a5b2-0000-7000-8000-00000000000d") // its last digit is a d
)

func TestIDRoundTrips(t *testing.T) {
	t.Parallel()
	many := make([]requestid.Batch, requestid.MostBatches)
	for n := range many {
		many[n] = requestid.Batch{UUID: uuid.New(), Direct: n%2 == 0}
	}
	for want, id := range map[string]requestid.ID{
		"20261123T010203.004Z-0a1b2c3d-17":                                      {At: at, Collector: "0a1b2c3d", Number: 17},
		"20261123T010203.004Z-0a1b2c3d-17-0193a5b200007000800000000000000d":     {At: at, Collector: "0a1b2c3d", Number: 17, Batches: []requestid.Batch{{UUID: plain}}},
		"20261123T010203.004Z-0a1b2c3d-17-0193a5b200007000800000000000000dd":    {At: at, Collector: "0a1b2c3d", Number: 17, Batches: []requestid.Batch{{UUID: plain, Direct: true}}},
		"20261123T010203.004Z-0a1b2c3d-0-0193a5b200007000800000000000000d-more": {At: at, Collector: "0a1b2c3d", Batches: []requestid.Batch{{UUID: plain}}, More: true},
		requestid.ID{At: at, Collector: "0a1b2c3d", Batches: many}.String():     {At: at, Collector: "0a1b2c3d", Batches: many},
	} {
		if got := id.String(); got != want {
			t.Errorf("%+v is %s, want %s", id, got, want)
		}
		if got, err := requestid.Parse(want); err != nil || !reflect.DeepEqual(got, id) {
			t.Errorf("%s is %+v, %v; want %+v", want, got, err, id)
		}
	}
	tooMany := requestid.ID{At: at, Collector: "0a1b2c3d", Batches: append(many, many...)}
	if got, err := requestid.Parse(tooMany.String()); err != nil || len(got.Batches) != requestid.MostBatches || !got.More {
		t.Errorf("of %d batches, %d are left, %v", len(tooMany.Batches), len(got.Batches), err)
	}
}

func TestParseRefusesWhatNoCollectorAnswers(t *testing.T) {
	t.Parallel()
	const good = "20261123T010203.004Z-0a1b2c3d-17"
	for _, text := range []string{
		"", "x", good[1:], good + "-", good + "-0193", good + "\n", strings.ToUpper(good) + "-d", "20261399T010203.004Z-0a1b2c3d-17",
		"20261123T010203.004Z-0a1b2c3d-99999999999999999999", good + strings.Repeat("-0193a5b200007000800000000000000d", requestid.MostBatches+1),
	} {
		if id, err := requestid.Parse(text); err == nil {
			t.Errorf("%q is taken for %+v", text, id)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("20261123T010203.004Z-0a1b2c3d-17-0193a5b200007000800000000000000d-more")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := requestid.Parse(text)
		if err != nil {
			return
		}
		if again, err := requestid.Parse(id.String()); err != nil || !reflect.DeepEqual(again, id) {
			t.Errorf("%q is %+v, and then %+v, %v", text, id, again, err)
		}
	})
}
