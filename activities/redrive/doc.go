// Package redrive has the activity that moves messages of the fallback queue into the
// stream.
package redrive
