package main

import (
	"cmp"
	"slices"

	"millrace/internal/outcome"
	"millrace/starter/console"
)

// Bounds of what is shown of a group of dead letters: tenants write reasons.
const (
	mostReasons = 3
	mostTenants = 5
)

// letterGroups puts together what one command indexes again: records whose error is of the
// same type.
func letterGroups(groups []deadGroup) []console.LetterGroup {
	type kind struct {
		err  string
		held bool
	}
	by := map[kind]*console.LetterGroup{}
	keys := map[kind]map[string]bool{}
	var order []kind
	for _, g := range groups {
		k := kind{g.Error, g.Held}
		all := by[k]
		if all == nil {
			all = &console.LetterGroup{Error: g.Error, Reasons: []string{}, Tenants: []string{}, First: g.First, Last: g.Last, Held: g.Held, Command: reprocessCommand(g)}
			by[k], keys[k] = all, map[string]bool{}
			order = append(order, k)
		}
		all.Records += g.Records
		for _, key := range g.Keys {
			keys[k][key] = true
		}
		if g.Reason != "" && len(all.Reasons) < mostReasons {
			all.Reasons = append(all.Reasons, inOneLine(g.Reason, longestDetail))
		}
		for _, tenant := range g.Tenants {
			all.Tenants = with(all.Tenants, inOneLine(tenant, 80))
		}
		if g.First.Before(all.First) {
			all.First = g.First
		}
		if g.Last.After(all.Last) {
			all.Last = g.Last
		}
	}
	shown := make([]console.LetterGroup, 0, len(order))
	for _, k := range order {
		by[k].Entries = len(keys[k])
		by[k].Tenants = by[k].Tenants[:min(len(by[k].Tenants), mostTenants)]
		shown = append(shown, *by[k])
	}
	slices.SortStableFunc(shown, func(a, b console.LetterGroup) int { return cmp.Compare(b.Records, a.Records) })
	return shown
}

// reprocessCommand is the command that indexes a group again. Nothing brings back what is
// only held, or was never read.
func reprocessCommand(g deadGroup) string {
	if g.Held || g.Error == outcome.TypePossibleLoss {
		return ""
	}
	return "starter dlq reprocess --error-type " + console.Quote(g.Error) + " --wait"
}
