package telemetry_test

import (
	"bytes"
	"testing"
	"time"

	"millrace/internal/telemetry"
)

func TestHeadNamesTenant(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	for _, name := range []string{"acme", "", `a"b\c`, "ü€😀", "tenant\n"} {
		data := telemetry.AppendRecord(nil, telemetry.Head{
			Index: "telemetry-span-2026.11.23", ReceivedAt: at, Tenant: name, ID: "1", Type: "span", Timestamp: at,
		}, []byte(`{"x":{"tenant":"victim"}}`))
		digest := bytes.Replace(data, []byte(`,"tenant":`), []byte(`,"digest":"0123456789abcdef","tenant":`), 1)
		for _, text := range [][]byte{data, digest} {
			r, err := telemetry.Parse(text)
			if err != nil || string(r.Tenant()) != name {
				t.Errorf("%s: tenant %q, want %q, error %v", text, r.Tenant(), name, err)
			}
		}
	}
	for name, r := range map[string]telemetry.Record{
		"empty":    {},
		"cut":      {Document: []byte(`"received_at":"2026-11-23T01:02:03.000Z","tenant":"ac`)},
		"in quote": {Document: []byte(`"received_at":"2026-11-23T01:02:03.000Z","tenant":"ac\"`)},
		"no name":  {Document: []byte(`"received_at":"2026-11-23T01:02:03.000Z","region":"x","tenant":"acme"}`)},
	} {
		if got := r.Tenant(); got != nil {
			t.Errorf("%s: tenant %q", name, got)
		}
	}
}

func TestHeadNamesRegion(t *testing.T) { // not parallel: allocations are counted
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	for _, tenant := range []string{"acme", "", `a"b\c`} {
		data := telemetry.AppendRecord(nil, telemetry.Head{
			Index: "telemetry-span-2026.11.23", ReceivedAt: at, Tenant: tenant, Region: "eu-west-1", ID: "1", Type: "span", Timestamp: at,
		}, []byte(`{"region":"us-east-1"}`))
		r, err := telemetry.Parse(data)
		if region := r.Region(); err != nil || string(region) != "eu-west-1" {
			t.Errorf("%s: region %q, error %v", data, region, err)
		}
		if allocations := testing.AllocsPerRun(100, func() { r.Region() }); allocations != 0 {
			t.Errorf("%v allocations", allocations)
		}
	}
	for name, r := range map[string]telemetry.Record{
		"empty":     {},
		"no tenant": {Document: []byte(`"region":"eu-west-1"}`)},
		"cut":       {Document: []byte(`"tenant":"acme","region":"eu-we`)},
		"elsewhere": {Document: []byte(`"tenant":"acme","id":"1","region":"eu-west-1"}`)},
	} {
		if got := r.Region(); got != nil {
			t.Errorf("%s: region %q", name, got)
		}
	}
}
