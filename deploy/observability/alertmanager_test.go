package observability

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"millrace/deploy/local"
)

// alertmanager is Alertmanager's own code for routes and inhibition rules. It is built once.
var alertmanager = sync.OnceValues(func() (string, error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return "", err
	}
	path, source := filepath.Join(root, ".local", "bin", "alertmanager"), filepath.Join(root, "tools", "alertmanager")
	return path, local.BuildTool(context.Background(), source, local.Program{Path: path, Source: "."}, local.Quickly()...)
})

// labels are those of an alert.
type labels map[string]string

// TestAlertmanagerSilencesWhatIsExplained: alerts of a shard that an operator holds reach no one, and those of others do.
func TestAlertmanagerSilencesWhatIsExplained(t *testing.T) {
	t.Parallel()
	program, err := alertmanager()
	if err != nil {
		t.Fatal(err)
	}
	if err := local.Reads("alertmanager.yml"); err != nil {
		t.Fatal(err)
	}
	const page, ticket, none = "on-call", "tickets", "" // inhibited
	all := alerts(t)
	of := func(name string, more labels) labels { // as Prometheus sends it
		set := labels{"alertname": name, "severity": string(all[name].Severity), "pipeline": "p"}
		for _, from := range []labels{all[name].Labels, more} {
			for label, value := range from {
				set[label] = value
			}
		}
		return set
	}
	shard := func(name, stage, id string) labels { return of(name, labels{"stage": stage, "shard": id}) }
	for _, c := range []struct {
		what   string
		alerts []labels
		want   []string
	}{
		{"a shard is held", []labels{shard("ShardHeld", "process", "1"), shard("ShardLags", "process", "1"), shard("ShardWaiting", "process", "1")},
			[]string{"none", none, none}},
		{"another one is held", []labels{shard("ShardHeld", "process", "1"), shard("ShardLags", "process", "2"), shard("ShardWaiting", "process", "2")},
			[]string{"none", none, page}}, // the second waits, which explains its lag
		{"its backup is held", []labels{shard("ShardHeld", "backup", "1"), shard("ShardLags", "process", "1"), shard("BackupLags", "backup", "1")},
			[]string{"none", ticket, none}},
		{"a shard of another pipeline is held", []labels{shard("ShardHeld", "process", "1"), func() labels {
			other := shard("ShardLags", "process", "1")
			other["pipeline"] = "q"
			return other
		}()}, []string{"none", ticket}},
		{"a shard is held for too long", []labels{shard("ShardHeld", "process", "1"), shard("ShardHeldForLong", "process", "1"), shard("ShardNearsRetention", "process", "1")},
			[]string{"none", ticket, page}},
		{"a shard nears the retention", []labels{shard("ShardLags", "process", "1"), shard("ShardNearsRetention", "process", "1")}, []string{none, page}},
		{"a budget burns fast and slowly", []labels{of("DelayBudgetBurnsFast", nil), of("DelayBudgetBurnsSlowly", nil), of("IngestBudgetBurnsSlowly", nil)},
			[]string{page, none, ticket}},
		{"the canary of one region fails", []labels{
			of("CanaryBudgetBurnsFast", labels{"region": "eu"}), of("CanaryBudgetBurnsSlowly", labels{"region": "eu"}), of("CanaryBudgetBurnsSlowly", labels{"region": "us"}),
		}, []string{page, none, ticket}},
		{"there is no worker", []labels{of("NoWorker", nil), of("CanarySilent", nil), of("NothingIsProcessed", nil), of("NothingIsBackedUp", nil), of("DeadLettersRise", nil)},
			[]string{page, none, none, none, ticket}},
	} {
		input, err := json.Marshal(c.alerts)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), program, "alertmanager.yml")
		var problems bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &problems
		output, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, problems.Bytes())
		}
		var got []string
		if err := json.Unmarshal(output, &got); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: alerts go to %q, want %q: %v", c.what, got, c.want, err)
		}
	}
}
