package snapshot

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// Retention says how long snapshots are kept, in days ("14d") or less. Zero
// fields take the defaults.
type Retention struct {
	// KeepAll is how long each of them is kept.
	KeepAll model.Duration `json:"keepAll,omitempty"`
	// KeepDaily is how long the last good one of each day (UTC) is kept.
	KeepDaily model.Duration `json:"keepDaily,omitempty"`
}

// DefaultRetention keeps two days of hourly snapshots, and two weeks of daily
// ones: 62 at an interval of an hour.
var DefaultRetention = Retention{KeepAll: model.Duration(2 * day), KeepDaily: model.Duration(14 * day)}

const day = 24 * time.Hour

// WithDefaults fills what is zero.
func (r Retention) WithDefaults() Retention {
	if r.KeepAll == 0 {
		r.KeepAll = DefaultRetention.KeepAll
	}
	if r.KeepDaily == 0 {
		r.KeepDaily = DefaultRetention.KeepDaily
	}
	return r
}

// Validate reports a retention that makes no sense.
func (r Retention) Validate() error {
	if r.KeepAll < 0 || r.KeepDaily < 0 {
		return errors.New("keepAll, keepDaily: a time is negative")
	}
	if all := r.WithDefaults(); all.KeepDaily < all.KeepAll {
		return fmt.Errorf("keepDaily: %s is shorter than keepAll, %s", all.KeepDaily, all.KeepAll)
	}
	return nil
}

// Expired returns the snapshots that may be deleted, of records the newest
// first. The last good one is never among them, nor one that is going on, and
// none at all while a suspect one is newer than the last good one: what it
// lacks may be in an old one only.
func (r Retention) Expired(all []Record, now time.Time) (expired []Record) {
	r = r.WithDefaults()
	good, found := LastGood(all, time.Time{})
	if !found {
		return nil
	}
	days := map[string]bool{}
	for _, one := range all {
		if one.Suspect != "" && one.Started.After(good.Started) {
			return nil
		}
		age, date := now.Sub(one.Started), one.Started.UTC().Format(time.DateOnly)
		kept := !one.Final() || one.Name == good.Name || age < time.Duration(r.KeepAll)
		if one.Good() && !days[date] { // they come the newest first
			days[date] = true
			kept = kept || age < time.Duration(r.KeepDaily)
		}
		if !kept {
			expired = append(expired, one)
		}
	}
	return expired
}
