package main

import (
	"errors"
	"fmt"

	"millrace/internal/config"
)

// Recovering is what recoveries may use of a worker.
type Recovering struct {
	RecoverSlots int `help:"Maximum pages of a recovery to process at once, up to 60 MiB each." default:"4" env:"MILLRACE_RECOVER_SLOTS"`
	// Repository has the snapshots that a recovery restores.
	Repository config.RepositoryName `embed:""`
}

// Validate reports what cannot work.
func (r Recovering) Validate() error {
	var slots error
	if r.RecoverSlots < 1 {
		slots = fmt.Errorf("--recover-slots: %d is less than 1", r.RecoverSlots)
	}
	return errors.Join(slots, r.Repository.Validate())
}
