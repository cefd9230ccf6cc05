package backup

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

// Foreign reports whether an object is Firehose's.
func (o Object) Foreign() bool { return !o.ours }

// firehoseHour is what the keys of an hour begin with.
const firehoseHour = "2006/01/02/15/"

// firehoseTime is when the oldest record of an object arrived, in the name that
// Firehose gives it: <stream>-<version>-<time>-<random>.
var firehoseTime = regexp.MustCompile(`-(\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d)-`)

// began is when the oldest record of an object of Firehose's arrived, to the
// second if its name says so, else to the hour.
func (o Object) began() time.Time {
	if m := firehoseTime.FindStringSubmatch(o.Key); m != nil {
		if at, err := time.Parse("2006-01-02-15-04-05", m[1]); err == nil {
			return at
		}
	}
	return o.hour
}

// DeliveredBehind reports whether Firehose has written an object of which the
// oldest record arrived after a time, whichever clock that is by. Its objects do
// not say how far they go, and it reads all shards side by side: such an object is
// the best sign that there is of what it has come to.
func DeliveredBehind(ctx context.Context, store Objects, at time.Time) (bool, error) {
	at = at.UTC().Add(ClockSkew)
	for from, until := at.Truncate(time.Hour), time.Now().Add(ClockSkew); !from.After(until); {
		layout, step := firehoseHour, time.Hour
		if from.Equal(from.Truncate(day)) {
			layout, step = firehoseDay, day
		}
		for found, err := range store.List(ctx, from.Format(layout)) {
			if err != nil {
				return false, fmt.Errorf("see how far Firehose is: %w", err)
			}
			if object, ok := parse(found); ok && object.Foreign() && object.began().After(at) {
				return true, nil
			}
		}
		from = from.Add(step)
	}
	return false, nil
}
