package longcall

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// HeartbeatEvery is how often a call says how far it is.
const HeartbeatEvery = time.Second

// Heartbeat sends heartbeats with these details until the function that it returns
// is called. Outside of an activity it sends none.
func Heartbeat(ctx context.Context, details func() any) (end func()) {
	if !activity.IsActivity(ctx) {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(HeartbeatEvery)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done(): // the SDK sends none any more
				return
			case <-ticker.C:
				activity.RecordHeartbeat(ctx, details())
			}
		}
	}()
	return func() { close(done) }
}

// Resume reads how far the previous attempt of this activity came, and reports
// whether there is one that has said so.
func Resume(ctx context.Context, progress any) bool {
	return activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, progress) == nil
}
