package config

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// Deployment is the worker deployment of all versioned processes: of collectors
// too, since they poll as well.
const Deployment = "millrace"

// Versioning is which version of the code a process is.
type Versioning struct {
	BuildID string `name:"build-id" help:"Version of this process in the worker deployment millrace, such as the image's tag; empty: not versioned." env:"MILLRACE_BUILD_ID"`
}

// plugin makes each worker of a client one of this version. Workflows that say
// nothing else go on in the version that is current: those without an end have
// to, and are replayed in tests with what earlier versions have written.
func (v Versioning) plugin() (client.Plugin, error) {
	made, err := temporal.NewSimplePlugin(temporal.SimplePluginOptions{
		Name: "millrace.versioning",
		ConfigureWorker: func(_ context.Context, o worker.PluginConfigureWorkerOptions) error {
			o.WorkerOptions.DeploymentOptions = worker.DeploymentOptions{
				UseVersioning:             true,
				Version:                   worker.WorkerDeploymentVersion{DeploymentName: Deployment, BuildID: v.BuildID},
				DefaultVersioningBehavior: workflow.VersioningBehaviorAutoUpgrade,
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make version %s of the workers: %w", v.BuildID, err)
	}
	return made, nil
}
