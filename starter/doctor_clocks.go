package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/internal/config"
	"millrace/workflows"
)

// dated notes what time a server says that it is, in the header Date.
type dated struct {
	aws.HTTPClient
	mu    sync.Mutex
	told  bool
	ahead time.Duration // of this machine
}

// Do implements aws.HTTPClient.
func (d *dated) Do(r *http.Request) (*http.Response, error) {
	asked := time.Now()
	response, err := d.HTTPClient.Do(r)
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if ahead, told := aheadBy(response, asked); told {
			d.ahead, d.told = ahead, true
		}
	}
	return response, err
}

// clock returns how far the server's clock is ahead of this machine's, if it has told.
func (d *dated) clock() (ahead time.Duration, told bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ahead, d.told
}

// aheadBy is how far the server that answered is ahead. It says whole seconds: half a second is as
// near as that comes on average.
func aheadBy(r *http.Response, asked time.Time) (ahead time.Duration, told bool) {
	date, err := http.ParseTime(r.Header.Get("Date"))
	return date.Add(time.Second / 2).Sub(asked.Add(time.Since(asked) / 2)), err == nil
}

func (e *exam) clockChecks(processes []*remote) []check {
	const group = "clocks"
	all := []check{
		{group: group, name: "aws", do: helpAWS, look: e.clockOfAWS},
		{group: group, name: "elasticsearch", do: helpElasticsearch, cluster: true, look: e.clockOfCluster},
		{group: group, name: "temporal", do: helpServer, look: e.clockOfTemporal},
	}
	for _, p := range processes {
		all = append(all, check{group: group, name: p.name(), look: func(ctx context.Context) (verdict, error) {
			r, err := p.readiness.need(ctx)
			if err == nil && !r.told {
				return skip("it does not tell its time"), nil
			}
			return e.judge("its clock", r.ahead), err
		}})
	}
	return all
}

// judge says whether a clock is near enough.
func (e *exam) judge(whose string, ahead time.Duration) verdict {
	side := "ahead of"
	if ahead < 0 {
		side = "behind"
	}
	if ahead.Abs() > e.ClockSkew {
		return fail("synchronize both clocks, by NTP", "%s is %v %s this machine's", whose, ahead.Abs().Round(time.Second), side)
	}
	return fine("%s is within %v of this machine's", whose, e.ClockSkew)
}

func (e *exam) clockOfAWS(ctx context.Context) (verdict, error) {
	cfg, err := e.aws.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	_, err = config.S3(cfg).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &e.names.Bucket})
	ahead, told := e.amazon.clock() // a refusal has a date, too
	switch {
	case told:
		return e.judge("its clock", ahead), nil
	case err != nil:
		return skip("it does not answer: see aws"), nil
	}
	return skip("it does not tell its time"), nil
}

// clockOfCluster looks at the node whose clock is the furthest off.
func (e *exam) clockOfCluster(ctx context.Context) (verdict, error) {
	c, err := e.cluster.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	nodes, err := c.Clocks(ctx)
	if err != nil {
		return verdict{}, err
	}
	if len(nodes) == 0 {
		return skip("it does not tell its time"), nil
	}
	furthest := slices.MaxFunc(slices.Sorted(maps.Keys(nodes)), func(a, b string) int { return int(nodes[a].Abs() - nodes[b].Abs()) })
	return e.judge(fmt.Sprintf("the clock of node %s, the furthest off of %d,", furthest, len(nodes)), nodes[furthest]), nil
}

// clockOfTemporal compares the last poll of a worker, which is never to come and, while one polls,
// at most pollTime ago.
func (e *exam) clockOfTemporal(ctx context.Context) (verdict, error) {
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	pollers, err := pollersOf(ctx, c, workflows.ProcessQueue)
	if err != nil {
		return verdict{}, err
	}
	if len(pollers) == 0 {
		return skip("it tells its time by the polls of workers, and none polls"), nil
	}
	var last time.Time
	for _, p := range pollers {
		if at := p.GetLastAccessTime().AsTime(); at.After(last) {
			last = at
		}
	}
	ahead := time.Until(last)
	if ahead < -pollTime { // the worker may have gone
		return skip("it tells its time by the polls of workers, and the last one was " + (-ahead).Round(time.Second).String() + " ago"), nil
	}
	return e.judge("its clock", max(ahead, 0)), nil
}
