package api

import (
	"errors"
	"fmt"
	"net/http"
)

// errMade says that a request would become too much: its records have much in
// common, which is copied into each.
type errMade struct{ limit int }

func (e errMade) Error() string {
	return fmt.Sprintf("the records of the request would take more than %d bytes", e.limit)
}

// recordOverhead is about what a record takes beside its body in bytes: its
// head, and its place in the batch.
const recordOverhead = 512

// charge counts bytes that were made of the request, and takes room for them. What
// is rejected after all counts too. It reports false once there is too much.
func (b *batch) charge(bytes int) bool {
	if b.full != nil {
		return false
	}
	b.made += bytes
	if limit := b.limits.mostMade(); b.made > limit {
		b.full = errMade{limit}
		return false
	}
	if b.held == nil || b.made <= b.paid {
		return true
	}
	// Ahead, so that not every record asks, and never more than is made already.
	const step = 256 << 10
	ahead := b.made - b.paid + min(b.made, step)
	if !b.held.reserve(int64(ahead)) {
		b.full = errNoRoom
		return false
	}
	b.paid += ahead
	return true
}

// copied is how many bytes were made of the request beyond its own: what its
// records have in common stands in each of them.
func (b *batch) copied() int {
	return max(0, b.made-b.position*recordOverhead-len(b.request))
}

// more reports whether another record may be made.
func (b *batch) more() bool { return b.full == nil && !b.beyond() }

// overfull is the refusal of a request that was too much as a whole, nil where it
// was not that.
func overfull(err error) *refusal {
	made := errMade{}
	switch {
	case errors.As(err, &made):
		return &refusal{status: http.StatusRequestEntityTooLarge, reason: err.Error()}
	case errors.Is(err, errNoRoom):
		return full()
	}
	return nil
}
