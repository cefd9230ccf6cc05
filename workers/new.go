package workers

import (
	"fmt"
	"os"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/internal/longcall"
	"millrace/workflows"
)

// newWorker makes a worker whose activities can be paused and reset in Temporal.
func newWorker(c client.Client, queue string, options worker.Options) worker.Worker {
	options.Interceptors = append(options.Interceptors, &longcall.Yield{})
	options.Identity = identity(queue)
	return worker.New(c, queue, options)
}

// identity names a worker as the SDK does, and says that it reads containers, which those of earlier versions do not.
func identity(queue string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%d@%s@%s%s", os.Getpid(), host, queue, workflows.ReadsContainers)
}
