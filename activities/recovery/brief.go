package recovery

import (
	"slices"

	"millrace/internal/index"
)

// mostListed bounds each list of a plan or a restore in a workflow's history: a
// cluster may have tens of thousands of indices, and Temporal takes no payload of
// more than 2 MiB. The whole plan is in the bucket.
const mostListed = 200

// PlanCounts are how long the lists of a plan are in the bucket.
type PlanCounts struct {
	Restore  int `json:"restore,omitempty"`
	Keep     int `json:"keep,omitempty"`
	Fewer    int `json:"fewer,omitempty"`
	More     int `json:"more,omitempty"`
	Warnings int `json:"warnings,omitempty"`
}

// counted is how long the lists are: of a brief plan, those of the whole one.
func (p Plan) counted() PlanCounts {
	if p.Counts != (PlanCounts{}) {
		return p.Counts
	}
	return PlanCounts{Restore: len(p.Restore), Keep: len(p.Keep), Fewer: len(p.Fewer), More: len(p.More), Warnings: len(p.Warnings)}
}

// brief is the plan as a workflow carries it: the first of each list, and how long
// these are.
func (p Plan) brief() Plan {
	p.Counts = p.counted()
	p.Window.Shards, p.Window.Earlier = nil, nil
	p.Restore, p.Fewer, p.More, p.Warnings = first(p.Restore), first(p.Fewer), first(p.More), first(p.Warnings)
	if len(p.Keep) > mostListed {
		keep := make(map[string]string, mostListed)
		for _, name := range index.Names(p.Keep)[:mostListed] {
			keep[name] = p.Keep[name]
		}
		p.Keep = keep
	}
	return p
}

func first[T any](list []T) []T { return list[:min(len(list), mostListed)] }

// restored enters the indices of a restore: the first of them, those that have
// fewer documents than the snapshot before the others, and how many there are.
func (p *RestoreProgress) restored(all []Restored) {
	p.Indices, p.Documents = len(all), 0
	for _, one := range all {
		p.Documents += one.Documents
	}
	slices.SortStableFunc(all, func(a, b Restored) int {
		switch {
		case a.lacks() == b.lacks():
			return 0
		case a.lacks():
			return -1
		}
		return 1
	})
	p.Restored = first(all)
}

func (r Restored) lacks() bool { return r.Documents < r.Wanted }

// Total is how many indices were restored, and how many documents they have. A
// worker of an earlier version has listed all of them, and counted none.
func (p RestoreProgress) Total() (indices int, documents int64) {
	if p.Indices > 0 {
		return p.Indices, p.Documents
	}
	for _, one := range p.Restored {
		documents += one.Documents
	}
	return len(p.Restored), documents
}
