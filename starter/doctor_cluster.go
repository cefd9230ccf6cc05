package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace/internal/index"
)

func (e *exam) clusterChecks() []check {
	const group = "elasticsearch"
	return []check{
		{group: group, name: "server", do: helpElasticsearch, cluster: true, look: e.clusterServer},
		{group: group, name: "privileges", do: helpElasticsearch, cluster: true, look: e.privileges},
		{group: group, name: "index templates", do: helpElasticsearch, cluster: true, look: e.templates},
		{group: group, name: "room for indices", do: helpElasticsearch, cluster: true, look: e.room},
	}
}

func (e *exam) clusterServer(ctx context.Context) (verdict, error) {
	c, err := e.cluster.report(ctx)
	if err != nil {
		return verdict{}, err
	}
	server, err := c.Server(ctx)
	if err != nil {
		return verdict{}, err
	}
	what := fmt.Sprintf("%s %s", server.Flavor, strings.Join(server.Versions, ", "))
	oldest := index.Oldest[server.Flavor]
	switch {
	case string(server.Flavor) != e.Flavor:
		return fail("set --elasticsearch-flavor "+string(server.Flavor)+" here and for the workers", "it is %s, and --elasticsearch-flavor is %s", what, e.Flavor), nil
	case slices.ContainsFunc(server.Versions, func(version string) bool { return older(version, oldest) }):
		return fail("upgrade the cluster to "+oldest+" or newer", "%s", what), nil
	}
	return fine("%s", what), nil
}

// privileges compares those of the credentials with the table in docs/operating.md. Without those of
// a worker nothing works; what else is missing may be intended.
func (e *exam) privileges(ctx context.Context) (verdict, error) {
	c, err := e.cluster.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	var lacks []string
	works := true
	for _, need := range index.Needs {
		missing, err := c.Lacks(ctx, need)
		if errors.Is(err, index.ErrNoSecurity) {
			return skip("not checked: security is off, or the server does not tell"), nil
		}
		if err != nil {
			return verdict{}, err
		}
		if len(missing) > 0 {
			lacks = append(lacks, fmt.Sprintf("a %s lacks %s", need.For, strings.Join(missing, ", ")))
			works = works && need.For != index.NeedOfWorker
		}
	}
	const do = "give these credentials the privileges in docs/operating.md; a warning is in order where others make templates, snapshots and recoveries"
	switch {
	case !works:
		return fail(do, "%s", strings.Join(lacks, "; ")), nil
	case len(lacks) > 0:
		return warn(do, "%s", strings.Join(lacks, "; ")), nil
	}
	return fine("these credentials can set up, index, take snapshots and recover"), nil
}

func (e *exam) templates(ctx context.Context) (verdict, error) {
	c, err := e.cluster.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	all, err := c.Templates(ctx)
	if err != nil {
		return verdict{}, err
	}
	layout, err := c.Layout(ctx)
	if err != nil {
		return verdict{}, err
	}
	setup := fmt.Sprintf("starter setup --index-shards %d --replicas %d", max(layout.Shards, 1), layout.Replicas)
	if layout == (index.Layout{}) {
		setup = "starter setup, with --replicas 0 on a single node"
	}
	var older, newer, canary []string
	for _, t := range all {
		text := fmt.Sprintf("%s has version %d, and this program %d", t.Name, t.Installed, t.Wanted)
		switch {
		case t.Canary && t.Installed < t.Wanted:
			canary = append(canary, text)
		case t.Installed == 0:
			older = append(older, t.Name+" is missing")
		case t.Installed < t.Wanted:
			older = append(older, text)
		case t.Installed > t.Wanted:
			newer = append(newer, text)
		}
	}
	switch {
	case len(older) > 0:
		return fail(setup, "%s", strings.Join(older, "; ")), nil
	case len(newer) > 0:
		return warn("upgrade starter and the workers: do not run this starter's setup", "%s", strings.Join(newer, "; ")), nil
	case len(canary) > 0:
		return warn(setup, "%s: the canary needs it", strings.Join(canary, "; ")), nil
	}
	return fine("%d of this program's version, for %d shards and %d replicas an index", len(all), layout.Shards, layout.Replicas), nil
}

func (e *exam) room(ctx context.Context) (verdict, error) {
	c, err := e.cluster.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	layout, err := c.Layout(ctx)
	if err != nil {
		return verdict{}, err
	}
	if layout == (index.Layout{}) {
		layout = index.DefaultLayout
	}
	n, err := e.needs(ctx, c, layout)
	switch {
	case err != nil:
		return verdict{}, err
	case n.room.Full():
		return fail(moreRoom, "%s", n), nil
	case !n.fit():
		return warn(moreRoom, "%s", n), nil
	}
	return fine("%s", n), nil
}
