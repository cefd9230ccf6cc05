package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/container"
	"millrace/test/kit/faultproxy"
)

// oldCommit is the version whose workers may run beside those of this one: the
// last before packages, types and fields got other names in Go.
const oldCommit = "0eeca7e6d05c8711ad4c3014286b9916eedca9af"

// oldPrograms builds the programs of oldCommit once for each clone. Where the
// history does not reach back so far there is nothing to build: that is no fault
// of a change, so the test is skipped, and .ci/run fetches the history before.
func oldPrograms(t testing.TB) (p pipeline.Programs) {
	t.Helper()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	if exec.CommandContext(t.Context(), "git", "-C", root, "cat-file", "-e", oldCommit+"^{commit}").Run() != nil {
		t.Skipf("this clone does not have commit %.7s, with which workers are to be compatible: git fetch --unshallow", oldCommit)
	}
	dir := filepath.Join(root, ".local", "old", oldCommit[:7])
	if _, err := local.InstallOnce(dir, func(dir string) (err error) {
		source := filepath.Join(dir, "source")
		if err = checkOut(t.Context(), root, oldCommit, source); err == nil {
			_, err = pipeline.Build(t.Context(), source, dir, append(local.Quickly(), "-race=false")...) // its races are not ours
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return pipeline.Programs{Collector: filepath.Join(dir, "collector"), Worker: filepath.Join(dir, "worker"), Starter: filepath.Join(dir, "starter")}
}

// checkOut writes the files of a commit into a folder, with an index of its own,
// so that the clone knows nothing of it.
func checkOut(ctx context.Context, root, commit, to string) error {
	for _, args := range [][]string{{"read-tree", commit}, {"checkout-index", "--all", "--prefix=" + to + "/"}} {
		git := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...)
		git.Env = append(os.Environ(), "GIT_INDEX_FILE="+to+".index")
		if said, err := git.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, said)
		}
	}
	return nil
}

// house is the programs of one version.
type house struct {
	*pipeline.Pipeline
	name              string
	collector, worker *pipeline.Program
	pids              map[string]bool // of its processes, also of those that have ended
}

// has reports whether a worker or a client is of this house, by its identity.
func (h *house) has(identity string) bool {
	pid, _, _ := strings.Cut(identity, "@")
	return h.pids[pid]
}

// mixed is a pipeline of two houses.
type mixed struct {
	*system
	was, is            *house
	aws, elasticsearch *faultproxy.Proxy // between both and the servers
}

func newMixed(t *testing.T) *mixed {
	t.Helper()
	built := oldPrograms(t)
	m := &mixed{}
	m.system, _ = prepare(t, func(at *servers) {
		m.aws, m.elasticsearch = proxyOf(t, at.aws), proxyOf(t, at.elasticsearch)
		at.aws, at.elasticsearch = m.aws.URL(), m.elasticsearch.URL()
		at.form = container.Single.String() // the old house knows no other
	})
	settings := m.settings
	settings.Programs, settings.Dir = built, t.TempDir()
	m.was = &house{Pipeline: pipeline.New(settings), name: "old", pids: map[string]bool{}}
	m.is = &house{Pipeline: m.Pipeline, name: "new", pids: map[string]bool{}}
	m.must(os.Symlink(m.is.Keys(), m.was.Keys()))
	t.Cleanup(func() {
		ran := m.was.Running()
		if err := m.was.Stop(); err != nil {
			t.Error(err)
		}
		for _, program := range ran {
			if t.Failed() {
				m.showLog(program.Log)
			}
		}
	})
	return m
}

// work starts a worker of a house, which takes as many shards, of those to be
// indexed and of those to be backed up.
func (m *mixed) work(h *house, shards int) {
	m.t.Helper()
	var err error
	h.worker, err = h.StartWorker(m.t.Context(), append(slices.Clone(workerEnv),
		fmt.Sprint("MILLRACE_INDEX_SLOTS=", shards), fmt.Sprint("MILLRACE_BACKUP_SLOTS=", shards))...)
	m.must(err)
	h.pids[fmt.Sprint(h.worker.Pid())] = true
}

// collect starts the collector of a house, or starts it again where it was.
func (m *mixed) collect(h *house) {
	m.t.Helper()
	var err error
	if h.collector == nil {
		h.collector, err = h.StartCollector(m.t.Context(), "INGEST=temporal", "MILLRACE_INDEX_DAYS_BACK=60")
	} else {
		err = h.collector.Restart(m.t.Context())
	}
	m.must(err)
	h.pids[fmt.Sprint(h.collector.Pid())] = true
	m.collector = h.collector
}

// kill ends both programs of a house, and from now on the others' collector is
// posted to.
func (m *mixed) kill(h, other *house) {
	h.worker.Kill()
	h.collector.Kill()
	m.collector = other.collector
}

// owned is what operators see of a shard.
type owned struct {
	Shard, Worker string
	Checkpoint    struct{ Sequence string }
}

// awaitOwners waits until each of these houses has a shard to index and one to
// back up, and no other has any, by what the workers say in their heartbeats and
// the starter of the first house reads.
func (m *mixed) awaitOwners(houses ...*house) {
	m.t.Helper()
	m.await(func() error {
		var indexed []owned
		said, err := houses[0].Starter(m.t.Context(), "shards", "--json")
		if err == nil {
			err = json.Unmarshal([]byte(said), &indexed)
		}
		if err != nil { // workers that have died cannot answer
			return err
		}
		var copied struct{ Backups []owned }
		said, err = houses[0].Starter(m.t.Context(), "backup", "status", "--json")
		if err == nil {
			err = json.Unmarshal([]byte(said), &copied)
		}
		return errors.Join(err, ownedBy(indexed, houses), ownedBy(copied.Backups, houses))
	})
}

func ownedBy(shards []owned, houses []*house) error {
	owners := map[*house]bool{}
	for _, s := range shards {
		at := slices.IndexFunc(houses, func(h *house) bool { return h.has(s.Worker) })
		if at < 0 || s.Checkpoint.Sequence == "" {
			return fmt.Errorf("a shard is %+v", s)
		}
		owners[houses[at]] = true
	}
	if len(owners) < len(houses) {
		return fmt.Errorf("%d houses have shards: %+v", len(owners), shards)
	}
	return nil
}

// replay gives all workflows of the shards something to do, by the starter of a
// house: who works on them now replays what others have made.
func (m *mixed) replay(by *house) {
	m.t.Helper()
	for _, what := range []string{"stream", "backup"} {
		for _, order := range []string{"pause", "resume"} {
			_, err := by.Starter(m.t.Context(), what, order)
			m.must(err)
		}
	}
}
