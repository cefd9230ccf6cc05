package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"millrace/internal/config"
	"millrace/workflows"
)

// oldestTemporal has updates, by which workflows are paused, switched on (release notes of 1.25.0).
const oldestTemporal = "1.25"

// closedFor is how long a namespace must keep closed workflows: Reconcile finds there what was
// terminated, and a start of processing its checkpoints (docs/operating.md).
const closedFor = 24 * time.Hour

func (e *exam) temporalChecks() []check {
	const group = "temporal"
	return []check{
		{group: group, name: "server", do: helpServer, look: e.temporalServer},
		{group: group, name: "namespace", do: helpServer, look: e.temporalNamespace},
		{group: group, name: "search attributes", do: helpTemporal, look: e.searchAttributes},
	}
}

const helpServer = "look at TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS and TEMPORAL_API_KEY, or start it"

func (e *exam) temporalServer(ctx context.Context) (verdict, error) {
	c, err := e.temporal.report(ctx)
	if err != nil {
		return verdict{}, err
	}
	info, err := c.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		return verdict{}, fmt.Errorf("ask for the version: %w", err)
	}
	if older(info.GetServerVersion(), oldestTemporal) {
		return fail("upgrade the server to "+oldestTemporal+" or newer", "version %s: workflows obey no updates", info.GetServerVersion()), nil
	}
	return fine("version %s", info.GetServerVersion()), nil
}

// older reports whether a version is older than another, by its major and minor number. What is no
// version is not: services that are upgraded for you need not tell one.
func older(version, than string) bool {
	var major, minor, leastMajor, leastMinor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n < 2 {
		return false
	}
	_, _ = fmt.Sscanf(than, "%d.%d", &leastMajor, &leastMinor) // a constant
	return major < leastMajor || major == leastMajor && minor < leastMinor
}

func (e *exam) temporalNamespace(ctx context.Context) (verdict, error) {
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	described, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: e.namespace})
	if err != nil {
		return verdict{}, fmt.Errorf("describe namespace %s: %w", e.namespace, advise(err, ""))
	}
	kept := described.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
	if kept < closedFor {
		return fail(fmt.Sprintf("temporal operator namespace update --namespace %s --retention %s", e.namespace, closedFor),
			"%s keeps closed workflows for %v: a terminated batch that is older is lost", e.namespace, kept), nil
	}
	return fine("%s keeps closed workflows for %v", e.namespace, kept), nil
}

func (e *exam) searchAttributes(ctx context.Context) (verdict, error) {
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	missing, err := missingAttributes(ctx, c, e.namespace)
	if err != nil {
		return verdict{}, err
	}
	if len(missing) > 0 {
		return fail("starter setup", "missing: %s", strings.Join(slices.Sorted(maps.Keys(missing)), ", ")), nil
	}
	return fine("%s", strings.Join(workflows.SearchAttributes, ", ")), nil
}

// pollTime is how old the last poll of a worker may be: Temporal answers each within a minute, and
// remembers a worker that has gone for five.
const pollTime = 70 * time.Second

// pollerChecks are one for each task queue. All have activities, and some no workflows.
func (e *exam) pollerChecks() (all []check) {
	for _, queue := range workflows.TaskQueues {
		all = append(all, check{
			group: "task queues", name: queue, do: helpServer, cluster: slices.Contains(workflows.ClusterQueues, queue),
			look: func(ctx context.Context) (verdict, error) { return e.polled(ctx, queue) },
		})
	}
	return append(all, check{group: "task queues", name: "worker versions", do: helpServer, look: e.currentVersion})
}

func (e *exam) polled(ctx context.Context, queue string) (verdict, error) {
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	pollers, err := pollersOf(ctx, c, queue)
	if err != nil {
		return verdict{}, err
	}
	recent := recentOf(pollers, time.Now())
	switch {
	case len(recent) == 0 && queue == workflows.CanaryQueue: // the check of its schedule says whether there is to be one
		return skip("no worker runs the canary (--canary-urls)"), nil
	case len(recent) == 0:
		return fail("start a worker with --queues "+strings.TrimPrefix(queue, workflows.QueuePrefix)+", or without --queues", "no worker polls it"), nil
	}
	versions := map[string]bool{}
	for _, p := range recent {
		if build := p.GetDeploymentOptions().GetBuildId(); build != "" {
			versions[build] = true
		}
	}
	detail := fmt.Sprintf("pollers: %d", len(recent))
	if len(versions) > 0 {
		detail += ", of version " + strings.Join(slices.Sorted(maps.Keys(versions)), ", ")
	}
	return fine("%s", detail), nil
}

// recentOf leaves out workers that have gone.
func recentOf(pollers []*taskqueue.PollerInfo, now time.Time) []*taskqueue.PollerInfo {
	return slices.DeleteFunc(pollers, func(p *taskqueue.PollerInfo) bool { return now.Sub(p.GetLastAccessTime().AsTime()) > pollTime })
}

func pollersOf(ctx context.Context, c client.Client, queue string) ([]*taskqueue.PollerInfo, error) {
	described, err := c.DescribeTaskQueue(ctx, queue, enums.TASK_QUEUE_TYPE_ACTIVITY)
	if err != nil {
		return nil, fmt.Errorf("describe task queue %s: %w", queue, advise(err, queue))
	}
	return described.GetPollers(), nil
}

// currentVersion looks whether workflows start at all, where workers have versions.
func (e *exam) currentVersion(ctx context.Context) (verdict, error) {
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	pollers, err := pollersOf(ctx, c, workflows.ProcessQueue)
	if err != nil {
		return verdict{}, err
	}
	build := ""
	for _, p := range pollers {
		build = max(build, p.GetDeploymentOptions().GetBuildId())
	}
	if build == "" {
		return skip("no worker has one (--build-id)"), nil
	}
	deployment, err := c.WorkerDeploymentClient().GetHandle(config.Deployment).Describe(ctx, client.WorkerDeploymentDescribeOptions{})
	if err != nil {
		return verdict{}, fmt.Errorf("describe deployment %s: %w", config.Deployment, err)
	}
	current := deployment.Info.RoutingConfig.CurrentVersion
	if current == nil {
		return fail(fmt.Sprintf("temporal worker deployment set-current-version --deployment-name %s --build-id %s --yes", config.Deployment, build),
			"none is current, and until one is, no workflow starts"), nil
	}
	return fine("%s is current", current.BuildID), nil
}
