package snapshot

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// mostNamed bounds how many indices a reason names.
const mostNamed = 5

// Judge compares the indices of a snapshot with those of the last good one
// before it, and those that were noted since, and says why it is suspect; empty
// if it is not. gone says what retention has taken of those that are Missing.
func Judge(last Record, now map[string]Index, notes []Noted, gone map[string]Gone) string {
	var wrong []string
	for name, before := range last.Indices {
		if gone[name].Retired.After(last.Started) {
			continue
		}
		index, there := now[name]
		switch {
		case !there:
			wrong = append(wrong, fmt.Sprintf("%s with %d documents has vanished", name, before.Documents))
		case index.Created.After(before.Created):
			wrong = append(wrong, fmt.Sprintf("%s was deleted and made again at %s: it had %d documents, now %d",
				name, index.Created.UTC().Format(time.RFC3339), before.Documents, index.Documents))
		case index.Documents+max(0, gone[name].Trimmed-before.Trimmed) < before.Documents:
			wrong = append(wrong, fmt.Sprintf("%s has shrunk from %d to %d documents", name, before.Documents, index.Documents))
		case lost(before, index, gone[name].Trimmed) > 0:
			wrong = append(wrong, fmt.Sprintf("%s has lost %d of the %d documents that were sent before %s", name,
				lost(before, index, gone[name].Trimmed), before.Settled.Documents, before.Settled.Before.UTC().Format(time.RFC3339)))
		}
	}
	for _, n := range notes {
		index, there := now[n.Index]
		switch {
		case !n.unknown(last) || there && !index.Created.After(n.Created) || gone[n.Index].Retired.After(n.Created):
		case !there:
			wrong = append(wrong, fmt.Sprintf("%s of %s has vanished", n.Index, n.Created.UTC().Format(time.RFC3339)))
		default:
			wrong = append(wrong, fmt.Sprintf("%s of %s was deleted and made again at %s", n.Index, n.Created.UTC().Format(time.RFC3339),
				index.Created.UTC().Format(time.RFC3339)))
		}
	}
	if len(wrong) == 0 {
		return ""
	}
	slices.Sort(wrong)
	more := ""
	if len(wrong) > mostNamed {
		more = fmt.Sprintf("; and %d more", len(wrong)-mostNamed)
		wrong = wrong[:mostNamed]
	}
	return "since snapshot " + last.Name + ": " + strings.Join(wrong, "; ") + more
}

// unknown reports whether an index has come since a snapshot that there is.
func (n Noted) unknown(last Record) bool {
	_, known := last.Indices[n.Index]
	return last.Name != "" && !known && !n.Created.Before(last.Started)
}

// Missing returns the indices of the last good record, and those that were noted
// since, that a snapshot does not have, or not whole: those about which Judge
// must know what retention has taken.
func Missing(last Record, now map[string]Index, notes []Noted) []string {
	var names []string
	for _, n := range notes {
		if index, there := now[n.Index]; n.unknown(last) && (!there || index.Created.After(n.Created)) {
			names = append(names, n.Index)
		}
	}
	for name, before := range last.Indices {
		index, there := now[name]
		if !there || index.Documents < before.Documents || index.Created.After(before.Created) || lost(before, index, 0) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
