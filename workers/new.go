package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/internal/longcall"
)

// newWorker makes a worker whose activities can be paused and reset in Temporal.
func newWorker(c client.Client, queue string, options worker.Options) worker.Worker {
	options.Interceptors = append(options.Interceptors, &longcall.Yield{})
	return worker.New(c, queue, options)
}
