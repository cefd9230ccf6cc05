package console

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/control"
)

var night = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// state is one in which nothing is wrong.
func state() State {
	s := State{At: night, Edges: map[string]Rate{}, Processes: []Process{{Kind: Worker, Address: "w:1", At: night}}}
	s.Shards.At, s.Queue.At, s.Backup.At = night, night, night
	s.Shards.Value = Shards{Total: 2, Shards: []Shard{
		{ID: "shardId-000000000000", State: control.StateRunning, ReadUpTo: night, Lag: new(1.0)},
		{ID: "shardId-000000000001", State: control.StateRunning, ReadUpTo: night, Lag: new(2.0)},
	}}
	s.Queue.Value.State, s.Backup.Value.State = control.StateRunning, control.StateRunning
	return s
}

// found are the problems of a state, with a stream that keeps a day.
func found(s State) []Problem {
	w := New(Settings{}, Sources{})
	p := newProcess(Target{Worker, "http://w"})
	p.part.Value.retention = 86400
	w.processes = append(w.processes, p)
	return w.problems(&s, night)
}

func TestProblemsSayWhatAndWhereAndWhichCommandMendsIt(t *testing.T) {
	t.Parallel()
	if all := found(state()); len(all) != 0 {
		t.Fatalf("a good state has problems: %+v", all)
	}
	late := night.Add(-12 * time.Minute)
	const cost = "records wait, and none is lost before 2026-11-24 02:48 UTC"
	for name, c := range map[string]struct {
		spoil func(*State)
		want  Problem
	}{
		"a shard waits": {
			func(s *State) {
				s.Shards.Value.Shards[1] = Shard{ID: "shardId-000000000001", State: control.StateWaiting, ReadUpTo: late, Why: "connection\nrefused", Workflow: "process/x"}
			},
			Problem{Bad, Worker, "shard 1 waits: connection refused", late, cost, []string{"starter shard show 1"}, "", "troubleshooting.md#a-shard-is-waiting", "process/x"},
		},
		"a shard is paused": {
			func(s *State) {
				s.Shards.Value.Shards[0] = Shard{ID: "shardId-000000000000", State: control.StatePaused, ReadUpTo: late, Holds: []control.Hold{{By: "o'hara", Reason: "a look"}, {By: "recovery"}}}
			},
			Problem{Warn, Worker, "shard 0 is paused, by o'hara (a look) and 1 more", late, cost, []string{`starter shard resume 0 --by 'o'\''hara'`}, "", "troubleshooting.md#a-shard-is-paused", ""},
		},
		"a shard is paused in Temporal": {
			func(s *State) {
				s.Shards.Value.Shards[0] = Shard{ID: "shardId-000000000000", State: control.StatePaused, Holds: []control.Hold{{By: "ann", Reason: "in Temporal, activity 5"}}}
			},
			Problem{Warn, Worker, "shard 0 is paused, by ann (in Temporal, activity 5)", night, "", []string{"starter shard show 0"}, "", "troubleshooting.md#a-shard-is-paused", ""},
		},
		"all shards are behind": {
			func(s *State) {
				for i := range s.Shards.Value.Shards {
					s.Shards.Value.Shards[i].ReadUpTo, s.Shards.Value.Shards[i].Lag = late, new(720.0)
				}
			},
			Problem{Warn, Worker, "2 shards (0, 1): each is behind", late, cost, []string{"starter shard show 0"}, "", "troubleshooting.md#lag-grows-and-no-shard-is-waiting", ""},
		},
		"a process is down": {
			func(s *State) { s.Processes[0].Error, s.Processes[0].Since = "connection refused", late },
			Problem{Bad, Worker, "worker w:1 does not answer: connection refused", late, "", []string{"starter doctor"}, "", "troubleshooting.md#a-process-is-down", ""},
		},
		"a dependency is missing": {
			func(s *State) { s.Processes[0].Missing = []string{"elasticsearch", "shards"} },
			Problem{Bad, "index", "worker w:1 lacks elasticsearch, shards", night, "", []string{"starter doctor"}, "", "troubleshooting.md#a-dependency-is-missing", ""},
		},
		"records are late for a minute": {
			func(s *State) { s.Delay.Points = points(1, 3, 3, 3, 3, 3, 3, 4.5) },
			Problem{Warn, "index", "records are late: 1 % take more than 4.5 s to the index, and the objective is 2.5 s", night.Add(-time.Minute), "", []string{"starter shards"}, "", "troubleshooting.md#records-are-late", ""},
		},
		"no worker answers": {
			func(s *State) { s.Shards.Value.Silent = "no worker answered" },
			Problem{Bad, Worker, "the shards cannot be asked: no worker answered", night, "", []string{"starter process status"}, "", "troubleshooting.md#no-worker-answers", ""},
		},
		"the stream throttles": {
			func(s *State) {
				s.Edges["accepted"], s.Edges["queue"] = Rate{Records: new(100.0)}, Rate{Records: new(6.0)}
			},
			Problem{Warn, "stream", "the stream rejects 6 records a second, which take the way through the queue", night, "they are late, and none is lost", []string{"starter redrive status"}, "", "troubleshooting.md#the-stream-throttles", ""},
		},
		"the queue stands": {
			func(s *State) {
				s.Queue.Value.Messages, s.Queue.Value.State, s.Queue.Value.Workflow = 7, control.StatePaused, "redrive/q"
			},
			Problem{Bad, "queue", "7 messages wait in the fallback queue, and Redrive is paused", night, "", []string{"starter redrive status"}, "", "troubleshooting.md#the-queue-grows", "redrive/q"},
		},
		"the backup waits": {
			func(s *State) {
				s.Backup.Value.Waiting, s.Backup.Value.LastError = []string{"0", "1", "2", "3", "4"}, "denied"
			},
			Problem{Warn, "backup", "the backup of shard 0, 1, 2 and 2 more waits: denied", night, "", []string{"starter backup status"}, "", "troubleshooting.md#the-backup-is-behind-or-waiting", ""},
		},
		"the backup is behind": {
			func(s *State) { s.Backup.Value.Lag = new(1000.0) },
			Problem{Warn, "backup", "the backup is behind by 16m40s", night, "", []string{"starter backup status"}, "", "troubleshooting.md#the-backup-is-behind-or-waiting", ""},
		},
		"records were trimmed": {
			func(s *State) { s.Edges["losses"] = Rate{Total: 2} },
			Problem{Bad, "stream", "the stream trimmed 2 ranges that were not read", night, "", []string{"starter dlq list --error-type possible_loss"}, "", "troubleshooting.md#records-were-trimmed-unread", ""},
		},
		"the residual is positive": {
			func(s *State) {
				s.Residual.Value = Residual{Audited: true, Records: 3, Compared: 500, Workflow: "audit"}
			},
			Problem{Bad, "index", "3 of 500 audited records are in neither index nor ledger", night, "", []string{"starter audit status"}, "", "troubleshooting.md#records-are-missing", "audit"},
		},
		"an earlier audit missed records": {
			func(s *State) { s.Missing = 4 },
			Problem{Bad, "index", "audits have found 4 records in neither index nor ledger since the workers started", night, "", []string{"starter audit status"}, "", "troubleshooting.md#records-are-missing", ""},
		},
		"the ledger has open entries": {
			func(s *State) { s.Letters.Value = DeadLetters{Open: 10_000, More: true} },
			Problem{Note, "ledger", "more than 10000 entries of the ledger are open", night, "", []string{"starter dlq list"}, "", "troubleshooting.md#records-are-in-the-ledger", ""},
		},
		"records are given up": {
			func(s *State) {
				s.Edges["processed"], s.Edges["dead"] = Rate{Records: new(100.0)}, Rate{Records: new(2.0)}
			},
			Problem{Warn, "ledger", "2 of 100 records a second are given up", night, "they are in the ledger, and not in the index", []string{"starter dlq list"}, "", "troubleshooting.md#records-are-in-the-ledger", ""},
		},
		"a recovery waits": {
			func(s *State) {
				s.Recoveries.Value = []Recovery{{Kind: "Recover", Workflow: "recover", Error: "no room"}, {Kind: "Replay", Ended: night, Error: "over"}}
			},
			Problem{Warn, "index", "Recover waits: no room", night, "", []string{"starter recover status"}, "", "troubleshooting.md#a-recovery-is-stuck", "recover"},
		},
		"a source fails": {
			func(s *State) { s.Letters.Error, s.Letters.Since = "denied", late },
			Problem{Warn, "ledger", "the console cannot read the ledger: denied", late, "", []string{"starter doctor"}, "", "", ""},
		},
		"the doctor finds something": {
			func(s *State) {
				s.Checks.Value = []Finding{{"workflows", "Redrive", Bad, "it was never started", "starter redrive start"}}
			},
			Problem{Bad, "queue", "Redrive: it was never started", night, "", []string{"starter redrive start"}, "", "", ""},
		},
		"the doctor says two commands": {
			func(s *State) {
				s.Checks.Value = []Finding{{"workflows", "KeepDeadLetters", Warn, "it is paused", "starter letters status, then starter letters resume"}}
			},
			Problem{Warn, "ledger", "KeepDeadLetters: it is paused", night, "", []string{"starter letters status", "starter letters resume"}, "", "", ""},
		},
		"the doctor advises": {
			func(s *State) {
				s.Checks.Value = []Finding{{"workflows", "Reconcile", Bad, "it does not run", "restart a worker, which starts it: see its log"}}
			},
			Problem{Bad, "ingest", "Reconcile: it does not run", night, "", nil, "restart a worker, which starts it: see its log", "", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := state()
			c.spoil(&s)
			if all := found(s); len(all) != 1 || !reflect.DeepEqual(all[0], c.want) {
				t.Errorf("the problems are %+v, want %+v", all, c.want)
			}
		})
	}
}

// points are ten seconds apart, and end at night. Zero: nothing was indexed.
func points(p99 ...float64) (all []Point) {
	for i, v := range p99 {
		p := Point{At: night.Add(time.Duration(i+1-len(p99)) * pointEvery).Unix()}
		if v > 0 {
			p.P99 = &v
		}
		all = append(all, p)
	}
	return all
}

func TestAMomentOfDelayIsNoProblem(t *testing.T) {
	t.Parallel()
	for _, delays := range [][]float64{{}, {9}, {9, 9, 9, 9, 9, 9}, {9, 9, 9, 9, 9, 9, 9, 1}, {9, 9, 9, 9, 1, 9, 9, 9}, {9, 9, 9, 9, 0, 9, 9, 9}} {
		s := state()
		s.Delay.Points = points(delays...)
		if all := found(s); len(all) != 0 {
			t.Errorf("%v is a problem: %+v", delays, all)
		}
	}
}

func TestAFewRejectedRecordsAreNoProblem(t *testing.T) {
	t.Parallel()
	s := state()
	s.Edges["processed"], s.Edges["dead"] = Rate{Records: new(100.0)}, Rate{Records: new(1.0)}
	s.Edges["accepted"], s.Edges["queue"] = Rate{Records: new(100.0)}, Rate{Records: new(5.0)}
	if all := found(s); len(all) != 0 {
		t.Errorf("the problems are %+v", all)
	}
	s.Edges["dead"], s.Edges["parked"] = Rate{Records: new(30.0)}, Rate{Records: new(29.0)}
	if all := found(s); len(all) != 0 {
		t.Errorf("with parked records the problems are %+v", all)
	}
}

// TestOneShardSaysWhyAllWait: the one that waits longest may not know.
func TestOneShardSaysWhyAllWait(t *testing.T) {
	t.Parallel()
	s := state()
	for i := range s.Shards.Value.Shards {
		s.Shards.Value.Shards[i].State = control.StateWaiting
	}
	s.Shards.Value.Shards[1].Why = "no room"
	if all := found(s); len(all) != 1 || all[0].What != "2 shards (0, 1): each waits: no room" {
		t.Errorf("the problems are %+v", all)
	}
}

func TestTheWorstComesFirstAndKeepsItsTime(t *testing.T) {
	t.Parallel()
	w := New(Settings{}, Sources{})
	s := state()
	s.Checks.Value = []Finding{{"g", "note", Note, "n", "a"}, {"g", "warning", Warn, "w", "b"}, {"g", "failure", Bad, "f", "c"}}
	levels := func(all []Problem) (of []Level) {
		for _, p := range all {
			of = append(of, p.Level)
		}
		return of
	}
	all := w.problems(&s, night)
	if !slices.Equal(levels(all), order) {
		t.Errorf("the order is %v", levels(all))
	}
	s.Checks.Value[2].Detail = "f, with other figures"
	if all = w.problems(&s, night.Add(time.Hour)); !all[0].Since.Equal(night) {
		t.Errorf("an hour later it began at %v", all[0].Since)
	}
	good := state()
	w.problems(&good, night)
	if all = w.problems(&s, night.Add(time.Hour)); !all[0].Since.Equal(night.Add(time.Hour)) {
		t.Errorf("one that has come again began at %v", all[0].Since)
	}
}

func TestShardsHaveNumbers(t *testing.T) {
	t.Parallel()
	for shard, want := range map[string]string{"shardId-000000000000": "0", "shardId-000000000010": "10", "shardId-000000012345": "12345", "odd": "odd"} {
		if got := Number(shard); got != want {
			t.Errorf("%s is %s", shard, got)
		}
	}
}

// TestProblemsNameHeadingsThatThereAre in the documents.
func TestProblemsNameHeadingsThatThereAre(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("problems.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		plain := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(match[1]), "")
		headings[strings.ReplaceAll(plain, " ", "-")] = true
	}
	named := regexp.MustCompile(`troubleshooting\.md#([a-z-]+)|"(a-shard-is-[a-z]+|lag-grows[a-z-]+)"`).FindAllStringSubmatch(string(code), -1)
	for _, match := range named {
		if !headings[match[1]+match[2]] {
			t.Errorf("docs/troubleshooting.md has no heading %s", match[1]+match[2])
		}
	}
	if len(named) < 12 {
		t.Errorf("only %d headings are named", len(named))
	}
}
