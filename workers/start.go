package workers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"runtime/debug"
	"sync"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// bounded is for workflows with an end: where workers have versions
// (config.Versioning), they end in the one in which they began.
var bounded = workflow.RegisterOptions{VersioningBehavior: workflow.VersioningBehaviorPinned}

// Start starts workers, and waits for Temporal where it is away. They are made
// anew for each attempt: the SDK's cannot be started twice. stop stops all of
// them at the same time, and waits until they have. The error is the context's.
func Start(ctx context.Context, makers map[string]func() worker.Worker) (stop func(), err error) {
	nameBuild()
	var started []worker.Worker
	stop = func() {
		var stopping sync.WaitGroup
		for _, w := range started {
			stopping.Go(w.Stop)
		}
		stopping.Wait()
	}
	for queue, newWorker := range makers {
		err := RetryUntilDone(ctx, "poll the task queue of "+queue, "set TEMPORAL_ADDRESS, or start Temporal", func(context.Context) error {
			w := newWorker()
			if err := w.Start(); err != nil {
				return err
			}
			started = append(started, w)
			return nil
		})
		if err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}

// nameBuild tells Temporal which build this is, by the revision and the modules
// that Go wrote into it. The SDK would read and hash the whole program instead,
// at every start: 60 ms of CPU.
var nameBuild = sync.OnceFunc(func() {
	if build, ok := debug.ReadBuildInfo(); ok {
		sum := sha256.Sum256([]byte(build.String()))
		worker.SetBinaryChecksum(hex.EncodeToString(sum[:16]))
	}
})
