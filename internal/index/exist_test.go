package index

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

func referenceTo(r telemetry.Record) sink.Reference {
	return sink.Reference{Index: string(r.Index), ID: string(r.DocIDText)}
}

// TestItIsKnownWhichDocumentsAreThere at once, also where there is no index,
// and it is said when it is not known.
func TestItIsKnownWhichDocumentsAreThere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"properties":{"n":{"type":"long"}}}`)
		there, bad, nowhere := record(t, index, "there", `{"n":1}`), record(t, index, "bad", `{"n":"x"}`), record(t, s.name(t), "nowhere", `{}`)
		s.one(t, there)
		if item := s.one(t, bad); item.Class != outcome.Poison {
			t.Fatalf("%+v", item)
		}
		found, err := s.client.Exist(t.Context(), []sink.Reference{referenceTo(nowhere), referenceTo(there), referenceTo(bad)})
		if err != nil || fmt.Sprint(found) != "[false true false]" {
			t.Errorf("found %v, %v", found, err)
		}
		if none, err := s.client.Exist(t.Context(), nil); len(none) > 0 || err != nil {
			t.Errorf("of none: %v, %v", none, err)
		}
		s.call(t, "POST", "/"+index+"/_close", "")
		other := s.index(t, `{}`)
		s.one(t, record(t, other, "there", `{}`))
		found, err = s.client.Exist(t.Context(), []sink.Reference{referenceTo(there), referenceTo(record(t, other, "there", `{}`)), {Index: ".no/name", ID: "x"}})
		var lookup *sink.LookupError
		if !errors.As(err, &lookup) || !lookup.Closed || lookup.Document != referenceTo(there) || fmt.Sprint(found) != "[false true false]" {
			t.Errorf("of a closed index beside others it says %v, %v", found, err)
		}
	})
}

func TestWhatIsThereIsNotGuessed(t *testing.T) {
	t.Parallel()
	c, err := Open(Settings{URLs: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := c.Exist(t.Context(), []sink.Reference{{Index: "a", ID: "b"}}); err == nil || len(found) > 0 {
		t.Errorf("without a server it says %v", found)
	}
}

// TestTheDigestOfADocumentIsFound at once; one from before there were digests,
// or with something else under the name, has none.
func TestTheDigestOfADocumentIsFound(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		index := s.index(t, `{"properties":{"digest":{"type":"keyword","index":false,"doc_values":false}}}`)
		const digest = telemetry.Digest(0xfedcba9876543210)
		with, without, other := record(t, index, "with", `{"digest":"`+digest.String()+`","n":1}`), record(t, index, "without", `{"n":1}`), record(t, index, "other", `{"digest":"x"}`)
		for _, r := range []telemetry.Record{with, without, other} {
			s.one(t, r)
		}
		found, err := s.client.Find(t.Context(), []sink.Reference{referenceTo(with), referenceTo(without), referenceTo(other), referenceTo(record(t, s.name(t), "nowhere", `{}`))})
		if want := []sink.Found{{There: true, Digest: digest}, {There: true}, {There: true}, {}}; err != nil || !slices.Equal(found, want) {
			t.Errorf("found %v, %v", found, err)
		}
	})
}

func TestWhenADocumentWasReceived(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		there := record(t, s.index(t, `{}`), "there", `{}`)
		s.one(t, there)
		got, err := s.client.ReceivedAt(t.Context(), []sink.Reference{referenceTo(record(t, s.name(t), "nowhere", `{}`)), referenceTo(there)})
		if err != nil || len(got) != 2 || !got[0].IsZero() || !got[1].Equal(there.ReceivedAt) {
			t.Errorf("received at %v, %v, want %s", got, err, there.ReceivedAt)
		}
	})
}
