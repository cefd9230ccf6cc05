package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"millrace/internal/control"
	"millrace/tools/reference"
	"millrace/workflows"
)

// operation is one thing that operators do, with each of three commands.
type operation struct {
	name                    string
	starter, temporal, tctl []string
}

// started is a workflow that operators start.
type started struct {
	id       string // with variables of the shell
	workflow any    // its function
	queue    string
	input    string // JSON, with variables of the shell
	stage    string // its search attribute, if it sets none
	conflict string // policy if it runs already
}

// TestOperationsAreCurrent compares the commands of the documents with the names, ids, task queues and inputs in the code.
// The commands of temporal and tctl are made of the same words, so they cannot differ.
func TestOperationsAreCurrent(t *testing.T) {
	t.Parallel()
	const shard, batch = "$SHARD", "batch/…"
	drain := workflows.DrainIndexID("telemetry-log-2026.11.23")
	hold := `{"by":"operator","reason":"maintenance","until":"2026-11-24T00:00:00Z"}`
	steer := func(id, starter string) []operation {
		return []operation{
			command("Pause", starter+" pause --for 10m --reason maintenance", id, workflows.Pause, ""),
			command("Resume", starter+" resume", id, workflows.Resume, ""),
		}
	}
	endless := func(name string, s started) []operation {
		return append([]operation{
			start(t, "starter "+name+" start", s), cancel("Stop", "starter "+name+" stop", s.id), status("starter "+name+" status", s.id, workflows.StatusQuery),
		}, steer(s.id, "starter "+name)...)
	}
	process := endless("process", started{
		id: workflows.ProcessStreamID("$S"), workflow: workflows.ProcessStream, queue: workflows.ProcessQueue,
		input: `{"stream":"$S"}`, stage: "process", conflict: "UseExisting",
	})
	ofStream, ofShard := process[2], status("", shard, workflows.StatusQuery)
	recovery := started{id: workflows.RecoverID, workflow: workflows.Recover, queue: workflows.RecoverQueue, input: "{}"}
	drill := started{id: workflows.DrillID, workflow: workflows.DrillRecovery, queue: workflows.RecoverQueue, input: "{}"}
	audit := started{id: workflows.AuditID, workflow: workflows.AuditBackup, queue: workflows.RecoverQueue, input: "{}"}
	snapshot := started{
		id: workflows.SnapshotID("millrace"), workflow: workflows.SnapshotIndex, queue: workflows.SnapshotQueue,
		input: `{"repository":{"name":"millrace","type":"s3","settings":{"bucket":"$BUCKET","base_path":"elasticsearch/millrace"}}}`,
	}
	retention := started{
		id: workflows.RetentionID("$S"), workflow: workflows.EnforceRetention, queue: workflows.SnapshotQueue,
		input: `{"days":{"span":30,"metric":90,"default":14}}`,
	}
	canary := started{id: workflows.CanaryID("$S"), workflow: workflows.Canary, queue: workflows.CanaryQueue, input: "{}"}
	scheduled := schedule(t, "starter canary schedule", canary, "10s")
	scheduled.temporal[0] = strings.Replace(scheduled.temporal[0], "Skip", "AllowAll", 1) + " --run-timeout " + workflows.CanaryInput{}.Timeout().String()
	reprocess := started{
		id: workflows.ReprocessID("$S"), workflow: workflows.ReprocessDeadLetters, queue: workflows.DeadQueue,
		input: `{"stream":"$S","mode":"direct","select":{"error":"duration"}}`, stage: "dead", conflict: "Fail",
	}
	for section, operations := range map[string][]operation{
		"attributes": {attributes()},
		"process": append(process[:2], operation{
			name:     "Status",
			starter:  []string{"starter process status", "starter shards", "starter shard show 3"},
			temporal: []string{ofStream.temporal[0], ofShard.temporal[0], "temporal workflow describe --workflow-id " + shard},
			tctl:     []string{ofStream.tctl[0], ofShard.tctl[0], "tctl workflow describe --workflow_id " + shard},
		}),
		"shard": {
			command("Pause one", "starter shard pause 3 --for 10m --reason maintenance", shard, workflows.Pause, input[control.Hold](t, hold)),
			command("Resume one", "starter shard resume 3", shard, workflows.Resume, ""),
			command("Pause all", "starter stream pause --for 10m --reason maintenance", workflows.ProcessStreamID("$S"), workflows.Pause, input[control.Hold](t, hold)),
			command("Resume all", "starter stream resume", workflows.ProcessStreamID("$S"), workflows.Resume, ""),
			command("Lift the state of an offender", "starter shard lift 3 acme", shard, workflows.Lift, input[control.Hold](t, `{"tenant":"acme"}`)),
		},
		"redrive": endless("redrive", started{
			id: workflows.RedriveID("$Q"), workflow: workflows.Redrive, queue: workflows.RedriveQueue,
			input: `{"queue":"$Q"}`, stage: "redrive", conflict: "UseExisting",
		}),
		"backup": endless("backup", started{
			id: workflows.BackupStreamID("$S"), workflow: workflows.BackupStream, queue: workflows.BackupQueue,
			input: `{"stream":"$S"}`, stage: "backup", conflict: "UseExisting",
		}),
		"letters": endless("letters", started{
			id: workflows.KeepDeadLettersID("$D"), workflow: workflows.KeepDeadLetters, queue: workflows.DeadQueue,
			input: `{"queue":"$D"}`, stage: "dead", conflict: "UseExisting",
		}),
		"batch": {
			{
				name: "List", starter: []string{"starter batch list"},
				temporal: []string{`temporal workflow list --query 'MillraceStage="batch" AND ExecutionStatus="Running"'`},
				tctl:     []string{`tctl workflow list --query 'MillraceStage="batch" AND ExecutionStatus="Running"'`},
			},
			status("starter batch show "+batch, batch, workflows.StatusQuery),
			command("Retry", "starter batch retry "+batch+" --first F --last L", batch, workflows.Retry, input[workflows.Branch](t, `{"first":"F","last":"L"}`)),
			command("Skip", "starter batch skip "+batch+" --first F --last L", batch, workflows.Skip, input[workflows.Branch](t, `{"first":"F","last":"L"}`)),
			cancel("Cancel", "starter batch cancel "+batch, batch),
		},
		"parked": {
			{
				name: "List", starter: []string{"starter parked list"},
				temporal: []string{`temporal workflow list --query 'WorkflowType="DrainIndex" AND ExecutionStatus="Running"'`},
				tctl:     []string{`tctl workflow list --query 'WorkflowType="DrainIndex" AND ExecutionStatus="Running"'`},
			},
			status("starter parked show telemetry-log-2026.11.23", drain, workflows.StatusQuery),
			command("Pause", "starter parked pause telemetry-log-2026.11.23 --reason repair", drain, workflows.Pause, ""),
			command("Resume", "starter parked resume telemetry-log-2026.11.23", drain, workflows.Resume, ""),
			cancel("Cancel", "starter parked cancel telemetry-log-2026.11.23", drain),
			start(t, "starter parked start telemetry-log-2026.11.23", started{
				id: drain, workflow: workflows.DrainIndex, queue: workflows.DeadQueue,
				input: `{"stream":"$S","index":"telemetry-log-2026.11.23"}`, stage: "dead", conflict: "UseExisting",
			}),
		},
		"dlq": append([]operation{
			{name: "List, and show an entry", starter: []string{"starter dlq list --error duration --from 24h", "starter dlq show ledger/open/…"}},
			start(t, "starter dlq reprocess --error duration --direct --wait", reprocess),
			status("starter dlq status", reprocess.id, workflows.StatusQuery),
			cancel("Cancel", "starter dlq cancel", reprocess.id),
		}, steer(reprocess.id, "starter dlq")...),
		"snapshot": {
			schedule(t, "starter snapshot schedule --every 1h", snapshot, "1h"),
			{
				name: "Take one now", starter: []string{"starter snapshot take"},
				temporal: []string{"temporal schedule trigger --schedule-id " + snapshot.id},
				tctl:     start(t, "", started{snapshot.id, snapshot.workflow, snapshot.queue, "{}", "", ""}).tctl,
			},
			{name: "List, and accept a suspect one", starter: []string{"starter snapshot list", "starter snapshot accept NAME --reason removed-by-intent"}},
		},
		"retention": {
			schedule(t, "starter retention schedule --days span=30,metric=90,default=14", retention, "24h"),
			start(t, "starter retention run --days default=14 --dry-run", started{
				retention.id, retention.workflow, retention.queue, `{"days":{"default":14},"dryRun":true}`, "", "",
			}),
		},
		"canary": {
			scheduled,
			{
				name: "Unschedule", starter: []string{"starter canary unschedule"},
				temporal: []string{"temporal schedule delete --schedule-id " + canary.id},
			},
			start(t, "starter canary run", canary),
			{
				name: "Status, and failed runs", starter: []string{"starter canary status"},
				temporal: []string{`temporal workflow list --query 'WorkflowType="Canary" AND ExecutionStatus="Failed"'`},
				tctl:     []string{`tctl workflow list --query 'WorkflowType="Canary" AND ExecutionStatus="Failed"'`},
			},
		},
		"recover": {
			start(t, "starter recover", recovery),
			status("starter recover status", recovery.id, workflows.ProgressQuery),
			command("Pause", "starter recover pause --reason busy", recovery.id, workflows.Pause, ""),
			command("Resume", "starter recover resume", recovery.id, workflows.Resume, ""),
			command("Change the rate", "starter recover set-rate 5000", recovery.id, workflows.SetRate, input[workflows.RateInput](t, `{"rate":5000}`)),
			cancel("Cancel", "starter recover cancel", recovery.id),
		},
		"replay": {start(t, "starter replay --from 2026-11-23T13:00:00Z --to 2026-11-23T14:00:00Z --into question", started{
			id: workflows.ReplayID("question"), workflow: workflows.Replay, queue: workflows.RecoverQueue,
			input: `{"from":"2026-11-23T13:00:00Z","to":"2026-11-23T14:00:00Z","into":"question"}`,
		})},
		"audit": {
			start(t, "starter audit run", audit),
			schedule(t, "starter audit schedule --every 10m", audit, "10m"),
			status("starter audit status", audit.id, workflows.StatusQuery),
			cancel("Cancel", "starter audit cancel", audit.id),
		},
		"drill": {
			start(t, "starter drill run", drill),
			schedule(t, "starter drill schedule --every 7d", drill, "168h"),
			status("starter drill status", drill.id, workflows.StatusQuery),
			cancel("Cancel", "starter drill cancel", drill.id),
		},
	} {
		reference.Check(t, "commands.md", "three ways: "+section, block(operations))
	}
}

// block is each operation as lines to copy.
func block(operations []operation) string {
	var out strings.Builder
	for _, o := range operations {
		out.WriteString("**" + o.name + "**\n\n")
		for _, line := range slices.Concat(o.starter, o.temporal, o.tctl) {
			out.WriteString("    " + line + "\n")
		}
		out.WriteString("\n")
	}
	return out.String()
}

func start(t *testing.T, starter string, s started) operation {
	t.Helper()
	of := reflect.TypeOf(s.workflow)
	decode(t, s.input, reflect.New(of.In(of.NumIn()-1)).Interface())
	name := runtime.FuncForPC(reflect.ValueOf(s.workflow).Pointer()).Name()
	name = name[strings.LastIndex(name, ".")+1:]
	temporal := fmt.Sprintf("temporal workflow start --workflow-id %s --type %s --task-queue %s --input %s", s.id, name, s.queue, quoted(s.input))
	tctl := fmt.Sprintf("tctl workflow start --workflow_id %s --workflow_type %s --taskqueue %s --input %s", s.id, name, s.queue, quoted(s.input))
	if s.stage != "" {
		temporal += fmt.Sprintf(` --search-attribute '%s="%s"'`, workflows.Stage.GetName(), s.stage)
		tctl += fmt.Sprintf(` --search_attr_key %s --search_attr_value '"%s"'`, workflows.Stage.GetName(), s.stage)
	}
	if s.conflict != "" {
		temporal += " --id-conflict-policy " + s.conflict
	}
	return operation{"Start", []string{starter}, []string{temporal}, []string{tctl}}
}

// schedule has no line of tctl, which knows no schedules.
func schedule(t *testing.T, starter string, s started, every string) operation {
	t.Helper()
	o := start(t, starter, s)
	_, rest, _ := strings.Cut(o.temporal[0], " --type ")
	o.name, o.tctl = "Schedule", nil
	o.temporal = []string{fmt.Sprintf("temporal schedule create --schedule-id %s --interval %s --overlap-policy Skip --catchup-window %s --workflow-id %s --type %s",
		s.id, every, every, s.id, rest)}
	return o
}

func cancel(name, starter, id string) operation {
	return operation{name, []string{starter}, []string{"temporal workflow cancel --workflow-id " + id}, []string{"tctl workflow cancel --workflow_id " + id}}
}

func status(starter, id, query string) operation {
	return operation{"Status", []string{starter}, []string{"temporal workflow query --workflow-id " + id + " --type " + query},
		[]string{"tctl workflow query --workflow_id " + id + " --query_type " + query}}
}

// command is an update, and in tctl, which has none, the signal of the same name.
func command(name, starter, id, update, input string) operation {
	if input != "" {
		input = " --input " + input
	}
	return operation{name, []string{starter}, []string{"temporal workflow update execute --workflow-id " + id + " --name " + update + input},
		[]string{"tctl workflow signal --workflow_id " + id + " --name " + update + input}}
}

func attributes() operation {
	temporal, tctl := "temporal operator search-attribute create", "tctl --auto_confirm admin cluster add-search-attributes"
	for _, name := range workflows.SearchAttributes {
		temporal += " --name " + name + " --type Keyword"
		tctl += " --name " + name + " --type Keyword"
	}
	return operation{"Create what is missing", []string{"starter setup"}, []string{temporal}, []string{tctl}}
}

// input quotes JSON that the code decodes into an Input.
func input[Input any](t *testing.T, text string) string {
	t.Helper()
	decode(t, text, new(Input))
	return quoted(text)
}

// decode fails if a member is unknown.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Errorf("read the input %s as %T: %v", text, into, err)
	}
}

// quoted is JSON for a shell that fills in variables.
func quoted(text string) string {
	for _, variable := range []string{"$S", "$Q", "$D", "$BUCKET"} {
		text = strings.ReplaceAll(text, `"`+variable+`"`, `"'`+variable+`'"`)
	}
	return "'" + text + "'"
}
