package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"millrace/internal/telemetry"
)

// Need is what a program must be allowed to do: privileges of the cluster, and of the telemetry indices.
type Need struct {
	For     string
	Cluster []string
	Indices []string
	Canary  bool // Indices are of the canary's
}

// Names is the pattern of the indices.
func (n Need) Names() string {
	if n.Canary {
		return telemetry.CanaryIndices
	}
	return telemetry.IndexPrefix + "*"
}

// NeedOfWorker is for what nothing works without.
const NeedOfWorker = "worker"

// Needs is the table of privileges in docs/operating.md.
var Needs = []Need{
	{For: "starter setup", Cluster: []string{"manage_index_templates", "monitor"}, Indices: []string{"view_index_metadata"}},
	{For: NeedOfWorker, Cluster: []string{"monitor"}, Indices: []string{"create_doc", "create_index", "read", "view_index_metadata"}},
	{
		For: "worker that takes snapshots, deletes by age, or recovers", Cluster: []string{"manage"},
		Indices: []string{"create_doc", "create_index", "read", "view_index_metadata", "delete", "manage"},
	},
	{
		For: "worker, where there is a canary", Cluster: []string{"monitor"}, Canary: true,
		Indices: []string{"create_doc", "create_index", "read", "view_index_metadata", "delete_index"},
	},
}

// ErrNoSecurity says that the server does not tell privileges: its security is off, or it is OpenSearch.
var ErrNoSecurity = errors.New("the server does not tell privileges")

// Lacks returns which privileges of a need these credentials do not have: none if they have all.
// The error wraps ErrNoSecurity where that cannot be told.
func (c *Client) Lacks(ctx context.Context, need Need) (missing []string, err error) {
	if c.flavor == OpenSearch { // its API is about roles, for administrators
		return nil, ErrNoSecurity
	}
	indices := need.Names()
	body, err := json.Marshal(map[string]any{
		"cluster": need.Cluster,
		"index":   []any{map[string]any{"names": []string{indices}, "privileges": need.Indices}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the privileges: %w", err)
	}
	var has struct {
		Cluster map[string]bool
		Index   map[string]map[string]bool
	}
	ask := request{method: http.MethodPost, path: join("_security", "user", "_has_privileges"), body: body}
	if err := c.call(ctx, ask, &has); err != nil {
		return nil, fmt.Errorf("ask for privileges: %w", withoutSecurity(err))
	}
	for _, privilege := range need.Cluster {
		if !has.Cluster[privilege] {
			missing = append(missing, privilege+" of the cluster")
		}
	}
	for _, privilege := range need.Indices {
		if !has.Index[indices][privilege] {
			missing = append(missing, privilege+" of "+indices)
		}
	}
	return missing, nil
}

// withoutSecurity adds ErrNoSecurity to the answers of servers whose security is off, or not there:
// they know no such path. Credentials that are wrong are another matter.
func withoutSecurity(err error) error {
	var status *StatusError
	if !errors.As(err, &status) {
		return err
	}
	switch status.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed:
		return fmt.Errorf("%w: %w", ErrNoSecurity, err)
	}
	return err
}
