package api

import (
	"testing"

	"millrace/internal/keyfile"
	"millrace/internal/telemetry"
)

// TestCanaryIsInAnIndexOfItsOwn, one for the day of its receipt, whatever its records
// say; other tenants get there by no type.
func TestCanaryIsInAnIndexOfItsOwn(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	key, err := keyfile.CreateCanary(c.keys)
	if err != nil {
		t.Fatal(err)
	}
	c.Server.keys.checked.Store(0)
	const body = `[{"type":"log"},{"type":"canary","timestamp":"2021-01-01T00:00:00Z"},{"type":"span","timestamp":"2034-01-01T00:00:00Z"}]`
	for headers, want := range map[[2]string]bool{{"X-Other", "tenant"}: false, {"Authorization", "ApiKey " + key}: true} {
		if r := c.postText(t, "/v1/telemetry", body, headers[:]...); r.status != 202 {
			t.Fatalf("answered %d %s", r.status, r.body)
		}
		records := c.stream.take(t)
		if len(records) != 3 {
			t.Fatalf("%d records came", len(records))
		}
		for _, record := range records {
			name, _ := record["index"].(string)
			if telemetry.IsCanary(name) != want || want && (name != telemetry.CanaryIndex(testNow) || record["tenant"] != telemetry.CanaryTenant) {
				t.Errorf("a record of %v is to be in %s", record["tenant"], name)
			}
		}
	}
}
