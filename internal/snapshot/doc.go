// Package snapshot keeps, beside each snapshot of the telemetry indices, what
// a recovery must know of it: which documents it has at the least, and where
// every shard of the stream stood before it was begun. (What the snapshot
// itself can carry of that is limited to 1 KB.)
//
// It also decides, without asking anybody, which snapshot may be trusted and
// which may go.
package snapshot
