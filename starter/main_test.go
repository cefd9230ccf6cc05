package main

import (
	"bytes"
	"cmp"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"millrace/deploy/local/localtest"
)

// runMain has this test's program be the command itself.
const runMain = "STARTER_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// leaves are all commands.
var leaves = []string{
	"setup", "doctor", "console", "send", "backup start", "backup stop", "backup pause", "backup resume", "backup status", "process start", "process stop", "process status", "shards", "shard show", "shard pause", "shard resume", "shard lift",
	"stream pause", "stream resume", "batch list", "batch show", "batch retry", "batch skip", "batch cancel", "parked list", "parked show", "parked start", "parked pause", "parked resume", "parked cancel", "dlq list", "dlq show",
	"dlq reprocess", "dlq status", "dlq pause", "dlq resume", "dlq cancel",
	"letters start", "letters stop", "letters pause", "letters resume", "letters status", "redrive start", "redrive stop", "redrive status", "redrive pause", "redrive resume",
	"recover start", "recover status", "recover pause", "recover resume", "recover cancel", "recover set-rate", "replay",
	"snapshot schedule", "snapshot take", "snapshot list", "snapshot accept", "retention schedule", "retention run",
	"drill schedule", "drill run", "drill status", "drill cancel",
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	top := help(t, "--help")
	contains(t, "--help", top, "Examples:", "TEMPORAL_ADDRESS", "Processing:", "Names in AWS:", "MILLRACE_STREAM")
	if asked := newOperator(t).must("--help"); asked != top {
		t.Errorf("the program prints another help:\n%s", asked)
	}
	for _, command := range leaves {
		contains(t, "--help", top, "\n  "+command+" ")
		help := help(t, strings.Fields(command+" --help")...)
		contains(t, command+" --help", help, "Usage: starter "+command)
		if strings.Contains(help, "%!") || strings.Contains(help, "${") {
			t.Errorf("the help of %s was not filled in:\n%s", command, help)
		}
	}
}

// help is what the program prints for these arguments. It is read in this process: to start another for each command takes
// half a minute.
func help(t *testing.T, args ...string) string {
	t.Helper()
	var c commands
	var out bytes.Buffer
	status := -1
	parser, err := kong.New(&c, append(options(), kong.Writers(&out, &out), kong.Exit(func(code int) { status = cmp.Or(max(status, 0), code) }))...)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = parser.Parse(args) // it goes on behind the help, which then is in want of arguments
	if status != 0 {
		t.Fatalf("starter %q ended with %d: %s", args, status, out.String())
	}
	return out.String()
}

func TestBadArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for args, want := range map[string]string{
		"":                                   "expected one of",
		"process":                            "expected one of",
		"setup --shards 0":                   "--shards: 0",
		"setup --retention-hours 12":         "--retention-hours: 12 is not from 24 to 8760",
		"setup --replicas=-1":                "--index-shards, --replicas",
		"setup --elasticsearch-url nowhere":  "--elasticsearch-url",
		"process start --call-for 1ms":       "--call-for",
		"shard pause":                        "<shard>",
		"shard pause 3 --for=-1m":            "--for: -1m0s is over already",
		"process start --stream no/stream":   "--stream",
		"redrive start --queue no.queue":     "--queue",
		"snapshot take --every 1s":           "every: 1s is less than 1m",
		"snapshot take --repository A":       "--repository",
		"snapshot take --indices all":        "does not begin with",
		"snapshot take --keep-daily 1h":      "shorter than keepAll",
		"send":                               "--records or --for",
		"send --records 1 --bad 2":           "--bad",
		"send --records 1 --run A":           "--run",
		"send --records 1 --protocol smoke":  "--protocol",
		"recover --into A --replace":         "into, replace",
		"recover --snapshot a --no-snapshot": "give one of them at the most",
		"recover --tenant acme":              "give noSnapshot",
		"recover --lease 1s":                 "lease: 1s is less than 5s",
		"recover --rate=-1":                  "rate: -1 is negative",
		"replay":                             "--from, --to",
		"drill run --rate=-1":                "rate: -1 is negative",
		"drill schedule --every 1s":          "--every: 1s is less than 1m",
		"process status --answer-within 0":   "--answer-within",
		"console --listen 0.0.0.0:8088":      "0.0.0.0:8088 can be reached from other machines",
		"console --listen :8088":             ":8088 can be reached from other machines",
		"console --listen 8088":              `"8088" is no address such as 127.0.0.1:8088`,
		"console --every 999ms":              "--every: 999ms is less than 1s",
		"console --source-timeout 0s":        "--source-timeout: 0s is not positive",
		"console --prometheus nowhere":       "--prometheus: not an http or https address",
		"console --temporal-ui javascript:x": "--temporal-ui: not an http or https address",
		"console --worker-url ftp://a":       "--worker-url: not an http or https address",
		"send --records 1 --url nowhere":     "--url",
		"send --records 1 --duplicates 1.01": "out of its range",
	} {
		o.fails(args, want)
	}
}

func TestUnreachableTemporalIsReported(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "TEMPORAL_ADDRESS=127.0.0.1:1")
	for _, args := range []string{"process start", "process stop --yes", "process status", "shards", "redrive start", "shard pause 3", "stream resume", "recover", "recover status"} {
		o.fails(args, "Temporal does not answer at 127.0.0.1:1: set TEMPORAL_ADDRESS")
	}
	options := localtest.Temporal(t)
	newOperator(t, "TEMPORAL_ADDRESS="+options.HostPort, "TEMPORAL_NAMESPACE=nowhere").
		fails("process start", "there is no namespace nowhere: set TEMPORAL_NAMESPACE or create it")
}
