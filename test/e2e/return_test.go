package e2e

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"millrace/internal/container"
	"millrace/internal/load"
)

// TestOldWorkersGiveWayToContainersAndComeBack: under load, as docs/containers.md has it. No container is written while a worker
// runs that does not read them, and none is ahead of it when it comes back. It is run as the test above.
func TestOldWorkersGiveWayToContainersAndComeBack(t *testing.T) {
	t.Parallel()
	if os.Getenv("MILLRACE_TEST_OLD_WORKER") == "" {
		t.Skip("run it by ./task beside: it builds and runs the programs of an earlier commit")
	}
	m := newMixed(t)
	m.collect(m.was)
	m.work(m.was, 4)
	m.must(m.was.StartWorkflows(t.Context()))
	m.must(m.was.StartBackup(t.Context()))
	was := m.load(m.was)
	m.collect(m.is)
	m.work(m.is, 4)
	is := m.load(m.is)
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error { return was.Run(ctx) })
	group.Go(func() error { return is.Run(ctx) })

	_, err := m.is.Starter(t.Context(), "format", "pack")
	if err == nil || !strings.Contains(err.Error(), "do not read containers") {
		t.Fatalf("beside an old worker, the form is set: %v", err)
	}
	m.must(m.was.collector.Stop())
	m.must(m.was.worker.Stop())
	m.await(func() error { // as long as Temporal may answer polls of the old one
		_, err := m.is.Starter(t.Context(), "format", "pack")
		return err
	})
	m.awaitOwners(m.is)
	m.await(func() error {
		if m.written(container.Pack) < 20 {
			return errors.New("hardly a pack is in the stream")
		}
		return nil
	})
	m.is.worker.Kill()
	m.work(m.is, 4)
	m.awaitOwners(m.is)

	m.awaitSingles()
	packs := m.written(container.Pack)
	m.collect(m.was)
	m.work(m.was, 4)
	m.is.worker.Kill()
	m.awaitOwners(m.was)
	for _, sender := range []*load.Sender{was, is} {
		at := sender.Accepted.Len()
		m.must(until(ctx, func() bool { return sender.Accepted.Len() >= at+resent }))
	}
	was.Stop()
	is.Stop()
	m.must(group.Wait())
	m.checkRecords(0, was, is)
	m.checkChain()
	if again := m.written(container.Pack); again != packs {
		t.Errorf("%d packs were written while an old worker runs", again-packs)
	}
	m.work(m.is, 4) // which all is stopped by
	_, err = m.is.Starter(t.Context(), "backup", "stop")
	m.must(err)
}
