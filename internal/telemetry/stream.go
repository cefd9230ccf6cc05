package telemetry

import (
	"fmt"
	"time"
)

// StreamID tells a stream from every other one, also from a later one of the
// same name.
type StreamID struct {
	Name    string    `json:"name"`
	ARN     string    `json:"arn"`
	Created time.Time `json:"created"`
}

// Is returns an error unless other is this very stream, and not another one or a
// later one of the same name. id is the stream that a worker reads.
func (id StreamID) Is(other StreamID) error {
	if id.Name == other.Name && id.Created.Equal(other.Created) {
		return nil
	}
	return fmt.Errorf("find stream %s of %s: this worker reads %s of %s", other.Name, other.Created, id.Name, id.Created)
}

// IsEarlier reports whether other is an earlier stream of the same name. A later
// one is one that a worker has not noticed yet.
func (id StreamID) IsEarlier(other StreamID) bool {
	return other.Name == id.Name && other.Created.Before(id.Created)
}
