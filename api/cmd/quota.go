package main

import (
	"errors"
	"strconv"

	"millrace/internal/keyfile"
)

// quotaFlags are the rates of a tenant.
type quotaFlags struct {
	RecordsRate *float64 `help:"Records a second that the tenant may send to each collector; 0: no limit. Without the flag, the rate stays."`
	BytesRate   *float64 `help:"Bytes of bodies a second, after decompression, that the tenant may send to each collector; 0: no limit. Without the flag, the rate stays."`
}

func (q quotaFlags) given() bool { return q.RecordsRate != nil || q.BytesRate != nil }

func (q quotaFlags) set(path, tenant string) error {
	return keyfile.SetQuota(path, tenant, keyfile.Quota{RecordsRate: q.RecordsRate, BytesRate: q.BytesRate})
}

type changeQuota struct {
	keyFile
	quotaFlags
	Tenant  string `help:"Tenant of the quota." required:""`
	Default bool   `help:"Restore the collectors' default quota."`
}

// Validate keeps a command that says nothing from looking like a success.
func (c changeQuota) Validate() error {
	if c.Default == c.given() {
		return errors.New("give --records-rate, --bytes-rate or both, or --default")
	}
	return nil
}

// Run sets a quota.
func (c changeQuota) Run() error {
	if c.Default {
		return keyfile.ResetQuota(c.Keys, c.Tenant)
	}
	return c.set(c.Keys, c.Tenant)
}

// shownRate is a rate as keys list shows it.
func shownRate(rate *float64) string {
	switch {
	case rate == nil:
		return "default"
	case *rate == 0:
		return "no limit"
	}
	return strconv.FormatFloat(*rate, 'f', -1, 64)
}
