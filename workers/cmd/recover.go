package main

import "fmt"

// Recovering is what recoveries may use of a worker.
type Recovering struct {
	RecoverSlots int    `help:"Most pages of a recovery to work on at the same time, 30 MiB each." default:"4" env:"MILLRACE_RECOVER_SLOTS"`
	Repository   string `name:"repository" help:"Repository of the snapshots that a recovery restores." default:"millrace" env:"MILLRACE_SNAPSHOT_REPOSITORY"`
}

// Validate reports what cannot work.
func (r Recovering) Validate() error {
	if r.RecoverSlots < 1 {
		return fmt.Errorf("--recover-slots: %d is less than 1", r.RecoverSlots)
	}
	return nil
}
