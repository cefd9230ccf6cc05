package telemetry

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Tenant returns the tenant in the record's head; nothing where the head names
// none in its place. It reads by position, and of a plain name it allocates
// nothing.
func (r Record) Tenant() []byte {
	tenant, _, _ := r.Origin()
	return tenant
}

// Region returns the region in the record's head, as it stands there; nothing where
// the head names none behind its tenant. It allocates nothing.
func (r Record) Region() []byte {
	_, region, _ := r.origin()
	return region
}

// Origin returns Tenant and Region, and what stands behind them.
func (r Record) Origin() (tenant, region, behind []byte) {
	tenant, region, behind = r.origin()
	if bytes.IndexByte(tenant, '\\') >= 0 {
		tenant = unquoted(tenant)
	}
	return tenant, region, behind
}

// origin is Origin, with the tenant as it stands there. The keys are constants, which are compared in words.
func (r Record) origin() (tenant, region, behind []byte) {
	const first, second = keyTenant + `"`, keyRegion + `"`
	rest := r.Document[r.tenantAt:]
	if len(rest) < len(first) || string(rest[:len(first)]) != first {
		return nil, nil, nil
	}
	if tenant, rest = untilQuote(rest[len(first):]); len(rest) < len(second) || string(rest[:len(second)]) != second {
		return tenant, nil, nil
	}
	region, behind = untilQuote(rest[len(second):])
	return tenant, region, behind
}

// unquoted reads what stands between the quotes of a JSON string; nothing where it is none.
func unquoted(text []byte) []byte {
	var name string
	if json.Unmarshal(slices.Concat([]byte{'"'}, text, []byte{'"'}), &name) != nil {
		return nil
	}
	return []byte(name)
}
