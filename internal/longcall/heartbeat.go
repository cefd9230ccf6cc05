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
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(HeartbeatEvery)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if ctx.Err() == nil || yields(ctx) != nil { // else the SDK sends none any more
					record(ctx, details())
				}
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		if yields(ctx) != nil {
			record(ctx, details())
		}
	}
}

// Resume reads how far the previous attempt of this activity came, and reports
// whether there is one that has said so.
func Resume(ctx context.Context, progress any) bool {
	return activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, progress) == nil
}
