package console

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"millrace/internal/control"
)

// Level is how bad a problem is.
type Level string

// Levels, the worst first.
const (
	Bad  Level = "bad"  // records wait, or may be lost: act
	Warn Level = "warn" // it works, but an operator should look
	Note Level = "note" // good to know
)

var order = []Level{Bad, Warn, Note}

func (l Level) worse(than Level) bool { return slices.Index(order, l) < slices.Index(order, than) }

// Problem is something that an operator should know.
type Problem struct {
	Level Level  `json:"level"`
	Node  string `json:"node,omitempty"` // of the picture
	What  string `json:"what"`
	// Since is when it began, or if that is not known, when the console first saw it.
	Since time.Time `json:"since"`
	Cost  string    `json:"cost,omitempty"` // what it costs
	// Do are the commands that show more, and mend it, in their order; Advice is what no
	// command does.
	Do     []string `json:"do,omitempty"`
	Advice string   `json:"advice,omitempty"`
	See    string   `json:"see,omitempty"` // a heading in docs
	// Workflow is the one in which to look.
	Workflow string `json:"workflow,omitempty"`
}

// lagging is the lag from which on a shard that runs is a problem, that of a backup more:
// it may hold a record for minutes.
const (
	lagging       = time.Minute
	backupLagging = 15 * time.Minute
)

// problems names what is wrong, the worst first.
func (w *Watch) problems(s *State, now time.Time) []Problem {
	all := slices.Concat(
		processProblems(s), delayProblems(s), shardProblems(s, w.retention()), queueProblems(s), backupProblems(s),
		lossProblems(s), letterProblems(s), recoveryProblems(s), sourceProblems(s), findingProblems(s),
	)
	if all == nil {
		all = []Problem{} // not null in JSON
	}
	known := map[string]bool{}
	for i := range all {
		p := &all[i]
		key := strings.Join(append([]string{string(p.Level), p.Node, p.See, p.Advice}, p.Do...), " ")
		known[key] = true
		if _, seen := w.since[key]; !seen {
			w.since[key] = now
		}
		if p.Since.IsZero() {
			p.Since = w.since[key]
		}
	}
	maps.DeleteFunc(w.since, func(key string, _ time.Time) bool { return !known[key] })
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Compare(slices.Index(order, a.Level), slices.Index(order, b.Level))
	})
	return all
}

// retention is that of the stream; 0 if it is not known.
func (w *Watch) retention() (longest time.Duration) {
	for _, p := range w.processes {
		longest = max(longest, time.Duration(p.part.Value.retention*float64(time.Second)))
	}
	return longest
}

// nodes are where a dependency stands in the picture.
var nodes = map[string]string{"elasticsearch": "index", "kinesis": "stream", "temporal": "ingest", "sqs": "queue", "s3": "backup"}

func processProblems(s *State) (all []Problem) {
	lacking := map[string][]string{}
	for _, p := range s.Processes {
		if p.Error != "" {
			all = append(all, Problem{
				Level: Bad, Node: p.Kind, What: p.Kind + " " + p.Address + " does not answer: " + p.Error, Since: p.Since,
				Do: []string{"starter doctor"}, See: "troubleshooting.md#a-process-is-down",
			})
			continue
		}
		if len(p.Missing) > 0 {
			list := strings.Join(p.Missing, ", ")
			lacking[list] = append(lacking[list], p.Kind+" "+p.Address)
		}
	}
	for _, list := range slices.Sorted(maps.Keys(lacking)) {
		first, _, _ := strings.Cut(list, ", ")
		lack := map[bool]string{true: " lacks ", false: " lack "}[len(lacking[list]) == 1]
		all = append(all, Problem{
			Level: Bad, Node: nodes[first], What: some(lacking[list]) + lack + list,
			Do: []string{"starter doctor"}, See: "troubleshooting.md#a-dependency-is-missing",
		})
	}
	return all
}

// lateFor is how long the delay must exceed its objective to be a problem.
const lateFor = time.Minute

func delayProblems(s *State) []Problem {
	late := 0
	for _, p := range slices.Backward(s.Delay.Points) {
		if p.P99 == nil || *p.P99 <= Objective {
			break
		}
		if late++; s.At.Sub(time.Unix(p.At, 0)) >= lateFor {
			return []Problem{{
				Level: Warn, Node: "index", What: fmt.Sprintf("records are late: 1 %% take more than %.1f s to the index, and the objective is %.1f s", *s.Delay.Points[len(s.Delay.Points)-1].P99, Objective),
				Since: time.Unix(s.Delay.Points[len(s.Delay.Points)-late].At, 0).UTC(), Do: []string{"starter shards"}, See: "troubleshooting.md#records-are-late",
			}}
		}
	}
	return nil
}

// some names the first of a list, and how many there are more.
func some(names []string) string {
	const most = 3
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// Number is what operators call a shard: the number in its id.
func Number(shard string) string {
	number := strings.TrimLeft(strings.TrimPrefix(shard, "shardId-"), "0")
	if number == "" && strings.HasSuffix(shard, "0") {
		return "0"
	}
	return cmp.Or(number, shard)
}

// shardProblem says what a state of a shard means.
var shardProblem = map[string]struct {
	level        Level
	says, do, at string
}{
	control.StateWaiting: {Bad, "waits", "starter shard show N", "a-shard-is-waiting"},
	control.StateTripped: {Bad, "is tripped", "starter shard show N", "a-shard-is-tripped"},
	control.StatePaused:  {Warn, "is paused", "starter shard resume N", "a-shard-is-paused"},
	control.StateClosed:  {Bad, "is closed", "starter process start", "a-shard-is-closed"},
	"lags":               {Warn, "is behind", "starter shard show N", "lag-grows-and-no-shard-is-waiting"},
}

// shardProblems has one problem for all shards that are in the same state.
func shardProblems(s *State, retention time.Duration) (all []Problem) {
	in := map[string][]Shard{}
	for _, shard := range s.Shards.Value.Shards {
		state := shard.State
		if state == control.StateRunning && shard.Lag != nil && *shard.Lag > lagging.Seconds() {
			state = "lags"
		}
		in[state] = append(in[state], shard)
	}
	if s.Shards.Value.Silent != "" {
		all = append(all, Problem{
			Level: Bad, Node: Worker, What: "the shards cannot be asked: " + line(s.Shards.Value.Silent), Do: []string{"starter process status"}, See: "troubleshooting.md#no-worker-answers",
		})
	}
	for _, state := range slices.Sorted(maps.Keys(in)) {
		means, wrong := shardProblem[state]
		if !wrong {
			continue
		}
		names, oldest, why := []string{}, in[state][0], ""
		for _, shard := range in[state] {
			names, why = append(names, Number(shard.ID)), cmp.Or(why, shard.Why)
			if !shard.ReadUpTo.IsZero() && (oldest.ReadUpTo.IsZero() || shard.ReadUpTo.Before(oldest.ReadUpTo)) {
				oldest = shard
			}
		}
		p := Problem{
			Level: means.level, Node: Worker, What: fmt.Sprintf("shard %s %s", some(names), means.says), Since: oldest.ReadUpTo,
			See: "troubleshooting.md#" + means.at, Workflow: oldest.Workflow,
		}
		if len(names) > 1 {
			p.What = fmt.Sprintf("%d shards (%s): each %s", len(names), some(names), means.says)
		}
		command := strings.ReplaceAll(means.do, "N", Number(oldest.ID))
		if state == control.StatePaused {
			p.What += ", " + heldBy(oldest.Holds)
			command = resume(command, oldest.Holds)
		} else if why = cmp.Or(oldest.Why, why); why != "" {
			p.What += ": " + line(why)
		}
		p.Do, p.Cost = []string{command}, cost(oldest, retention)
		all = append(all, p)
	}
	return all
}

func heldBy(holds []control.Hold) string {
	if len(holds) == 0 {
		return "and no hold says by whom"
	}
	text := "by " + holds[0].By
	if holds[0].Reason != "" {
		text += " (" + line(holds[0].Reason) + ")"
	}
	if more := len(holds) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// resume lifts a hold: a pause in Temporal must be lifted there.
func resume(command string, holds []control.Hold) string {
	switch {
	case len(holds) == 0:
		return command
	case strings.HasPrefix(holds[0].Reason, "in Temporal"):
		return strings.Replace(command, "resume", "show", 1)
	}
	return command + " --by " + Quote(holds[0].By)
}

// cost says until when nothing is lost.
func cost(shard Shard, retention time.Duration) string {
	if shard.ReadUpTo.IsZero() || retention <= 0 {
		return ""
	}
	return "records wait, and none is lost before " + shard.ReadUpTo.Add(retention).UTC().Format("2006-01-02 15:04") + " UTC"
}

// detour is the share of the accepted records from which on it is a problem that the stream rejects some.
const detour = 0.05

func queueProblems(s *State) (all []Problem) {
	if rejected := s.Edges["queue"]; rejected.exceeds(detour, s.Edges["accepted"]) {
		all = append(all, Problem{
			Level: Warn, Node: "stream", What: fmt.Sprintf("the stream rejects %.0f records a second, which take the way through the queue", *rejected.Records),
			Cost: "they are late, and none is lost", Do: []string{"starter redrive status"}, See: "troubleshooting.md#the-stream-throttles",
		})
	}
	q := s.Queue.Value
	if q.Messages > 0 && q.State != control.StateRunning && s.Queue.Error == "" {
		all = append(all, Problem{
			Level: Bad, Node: "queue", What: fmt.Sprintf("%d messages wait in the fallback queue, and Redrive is %s", q.Messages, cmp.Or(q.State, "not running")),
			Do: []string{"starter redrive status"}, See: "troubleshooting.md#the-queue-grows", Workflow: q.Workflow,
		})
	}
	return all
}

func backupProblems(s *State) (all []Problem) {
	b := s.Backup.Value
	switch {
	case len(b.Waiting) > 0:
		all = append(all, Problem{
			Level: Warn, Node: "backup", What: "the backup of shard " + some(b.Waiting) + " waits: " + cmp.Or(line(b.LastError), "it does not say why"),
			Do: []string{"starter backup status"}, See: "troubleshooting.md#the-backup-is-behind-or-waiting", Workflow: b.Workflow,
		})
	case b.Lag != nil && *b.Lag > backupLagging.Seconds():
		all = append(all, Problem{
			Level: Warn, Node: "backup", What: "the backup is behind by " + (time.Duration(*b.Lag) * time.Second).String(),
			Do: []string{"starter backup status"}, See: "troubleshooting.md#the-backup-is-behind-or-waiting", Workflow: b.Workflow,
		})
	}
	return all
}

// lossProblems are about records that may be gone.
func lossProblems(s *State) (all []Problem) {
	if n := s.Edges["losses"].Total; n > 0 {
		all = append(all, Problem{
			Level: Bad, Node: "stream", What: fmt.Sprintf("the stream trimmed %.0f ranges that were not read", n),
			Do: []string{"starter dlq list --error-type possible_loss"}, See: "troubleshooting.md#records-were-trimmed-unread",
		})
	}
	if r := s.Residual.Value; r.Records > 0 || s.Missing > 0 {
		what := fmt.Sprintf("%d of %d audited records are in neither index nor ledger", r.Records, r.Compared)
		if r.Records == 0 { // an earlier audit has found them
			what = fmt.Sprintf("audits have found %.0f records in neither index nor ledger since the workers started", s.Missing)
		}
		all = append(all, Problem{
			Level: Bad, Node: "index", What: what,
			Do: []string{"starter audit status"}, See: "troubleshooting.md#records-are-missing", Workflow: r.Workflow,
		})
	}
	return all
}

// givenUp is the share of the processed records from which on it is a problem that some are given up.
const givenUp = 0.01

func letterProblems(s *State) (all []Problem) {
	processed, dead := s.Edges["processed"], s.Edges["dead"]
	if home := s.Edges["parked"].Records; dead.Records != nil && home != nil { // what is parked comes home
		dead.Records = new(*dead.Records - *home)
	}
	if dead.exceeds(givenUp, processed) {
		all = append(all, Problem{
			Level: Warn, Node: "ledger", What: fmt.Sprintf("%.0f of %.0f records a second are given up", *dead.Records, *processed.Records),
			Cost: "they are in the ledger, and not in the index", Do: []string{"starter dlq list"}, See: "troubleshooting.md#records-are-in-the-ledger",
		})
	}
	if d := s.Letters.Value; d.Open > 0 {
		more := map[bool]string{true: "more than "}[d.More]
		all = append(all, Problem{
			Level: Note, Node: "ledger", What: fmt.Sprintf("%s%d entries of the ledger are open", more, d.Open), Do: []string{"starter dlq list"}, See: "troubleshooting.md#records-are-in-the-ledger",
		})
	}
	return all
}

func recoveryProblems(s *State) (all []Problem) {
	for _, r := range s.Recoveries.Value {
		if r.Ended.IsZero() && r.Error != "" {
			all = append(all, Problem{
				Level: Warn, Node: "index", What: r.Kind + " waits: " + line(r.Error), Do: []string{"starter recover status"},
				See: "troubleshooting.md#a-recovery-is-stuck", Workflow: r.Workflow,
			})
		}
	}
	return all
}

// sourceProblems say what the page cannot know at present.
func sourceProblems(s *State) (all []Problem) {
	for _, source := range []struct {
		what, node, err string
		since           time.Time
	}{
		{"the shards", Worker, s.Shards.Error, s.Shards.Since},
		{"the fallback queue", "queue", s.Queue.Error, s.Queue.Since},
		{"the ledger", "ledger", s.Letters.Error, s.Letters.Since},
		{"the backup", "backup", s.Backup.Error, s.Backup.Since},
		{"the snapshots", "snapshots", s.Snapshots.Error, s.Snapshots.Since},
		{"recoveries and drills", "index", s.Recoveries.Error, s.Recoveries.Since},
		{"the residual", "", s.Residual.Error, s.Residual.Since},
		{"the history in Prometheus", "", s.History.Error, s.History.Since},
	} {
		if source.err != "" {
			all = append(all, Problem{
				Level: Warn, Node: source.node, What: "the console cannot read " + source.what + ": " + source.err, Since: source.since, Do: []string{"starter doctor"},
			})
		}
	}
	return all
}

// checked are where what the doctor checks stands in the picture.
var checked = map[string]string{
	"ProcessStream": Worker, "Redrive": "queue", "KeepDeadLetters": "ledger", "BackupStream": "backup", "Reconcile": "ingest",
	"batches": "batch", "batches of collectors": "ingest", "ledger": "ledger", "snapshots": "snapshots", "last snapshot": "snapshots",
}

// program begins a command, where advice does not.
var program = regexp.MustCompile(`^(starter|temporal|collector) [a-z]`)

func findingProblems(s *State) (all []Problem) {
	for _, f := range s.Checks.Value {
		p := Problem{Level: f.Level, Node: checked[f.Check], What: f.Check + ": " + line(f.Detail)}
		for _, step := range strings.Split(f.Do, ", then ") {
			if !program.MatchString(step) {
				p.Do, p.Advice = nil, f.Do
				break
			}
			p.Do = append(p.Do, step)
		}
		all = append(all, p)
	}
	return all
}
