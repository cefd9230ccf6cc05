// Package longcall holds what long activities have in common. Such a call works for
// minutes, and then ends well, so that any worker can go on where it stopped:
//
//   - it says how far it is in heartbeats, from which its next attempt resumes
//     (Heartbeat, Watch, Resume);
//   - it retries for as long as it takes whatever must succeed in the end, and says
//     meanwhile what it waits for (Retry, Stall);
//   - when it is due, paused or canceled, or its worker stops, it begins nothing new,
//     and lets what is in flight drain (Watch, WithWorkerStop);
//   - when an operator pauses or resets its activity in Temporal, it yields, and goes on
//     once it is resumed (Yield).
package longcall
