package longcall

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// HeartbeatEvery is how often a call says how far it is. Each heartbeat writes the
// state of its workflow, and brings back whether the call is canceled or paused: rare
// enough for thousands of shards, often enough for an operator who waits for a pause.
//
// The server's timer of the heartbeat timeout writes, too, each time that it fires and is set anew behind the last heartbeat.
// So a timeout a little above three heartbeats (workflows.TakeoverAfter) makes four writes of three heartbeats: 0.3 a second.
const HeartbeatEvery = 4450 * time.Millisecond

// firstHeartbeat is when it says so for the first time, which shows that it runs.
const firstHeartbeat = time.Second

// Heartbeat sends heartbeats with these details until the function that it returns
// is called. Outside of an activity it sends none.
func Heartbeat(ctx context.Context, details func() any) (end func()) {
	if !activity.IsActivity(ctx) {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		next := time.NewTimer(firstHeartbeat)
		defer next.Stop()
		for {
			select {
			case <-done:
				return
			case <-next.C:
				next.Reset(HeartbeatEvery)
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
