package main

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"millrace/internal/keyfile"
	"millrace/internal/telemetry"
)

type keysCommands struct {
	Create createKey   `cmd:"" help:"Create a key for a tenant, and print it; it cannot be printed again."`
	List   listKeys    `cmd:"" help:"List keys without their secrets."`
	Revoke revokeKeys  `cmd:"" help:"Disable a key, or all keys of a tenant. Running collectors apply it within seconds."`
	Quota  changeQuota `cmd:"" help:"Set how much a tenant may send to each collector. Running collectors apply it within seconds."`
}

// keyFile is where keys are kept, hashed.
type keyFile struct {
	Keys string `help:"File of the API keys." required:"" type:"path" env:"MILLRACE_KEYS"`
}

type createKey struct {
	keyFile
	quotaFlags
	Tenant string `help:"Tenant of the key; required unless --canary is given." xor:"tenant"`
	Canary bool   `help:"Create the key of the canary, whose tenant no other key can have." xor:"tenant"`
}

// Validate refuses a tenant before it has a quota.
func (c createKey) Validate() error {
	switch {
	case c.Canary:
		return nil
	case c.Tenant == "":
		return errors.New("--tenant: say whose key it is, or give --canary")
	}
	if err := keyfile.CheckTenant(c.Tenant); err != nil {
		return fmt.Errorf("--tenant: %w", err)
	}
	return nil
}

// Run makes a key, once its tenant has the quota that was asked for.
func (c createKey) Run() error {
	create := func() (string, error) { return keyfile.Create(c.Keys, c.Tenant) }
	if c.Canary {
		c.Tenant = telemetry.CanaryTenant
		create = func() (string, error) { return keyfile.CreateCanary(c.Keys) }
	}
	if c.given() {
		if err := c.set(c.Keys, c.Tenant); err != nil {
			return err
		}
	}
	key, err := create()
	if err == nil {
		fmt.Println(key)
	}
	return err
}

type listKeys struct {
	keyFile
	Tenant string `help:"Only keys of this tenant."`
}

// Run lists keys.
func (l listKeys) Run() error {
	keys, err := keyfile.List(l.Keys, l.Tenant)
	if err != nil {
		return err
	}
	quotas, err := keyfile.Quotas(l.Keys)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tTENANT\tCREATED\tSTATE\tRECORDS/S\tBYTES/S")
	for _, k := range keys {
		state := "enabled"
		if !k.Revoked.IsZero() {
			state = "disabled"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Tenant, k.Created.Format(time.RFC3339), state,
			shownRate(quotas[k.Tenant].RecordsRate), shownRate(quotas[k.Tenant].BytesRate))
	}
	return table.Flush()
}

type revokeKeys struct {
	keyFile
	Tenant string `help:"Tenant of the key." required:""`
	ID     string `help:"Id of the key, as listed."`
	All    bool   `help:"Disable all keys of the tenant."`
}

// Validate keeps a forgotten id from disabling all keys.
func (r revokeKeys) Validate() error {
	if (r.ID == "") != r.All {
		return errors.New("say which key by --id, or --all")
	}
	return nil
}

// Run disables keys.
func (r revokeKeys) Run() error { return keyfile.Revoke(r.Keys, r.Tenant, r.ID) }
