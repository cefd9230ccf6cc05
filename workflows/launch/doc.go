// Package launch starts and steers the workflows of package workflows through a
// Temporal client: for workers, whose activities do not know workflows, for the
// collector, and for the operator's command.
package launch
