package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Repository is where a cluster keeps snapshots. Its credentials are the
// cluster's own: a keystore, or a role.
type Repository struct {
	Name string `json:"name"`
	// Type is s3, or fs where all nodes share a folder below path.repo.
	Type string `json:"type"`
	// Settings are those of the type: bucket, base_path, region, role_arn, …
	// of s3; location of fs.
	Settings map[string]string `json:"settings,omitempty"`
}

// Validate reports what no server would take.
func (r Repository) Validate() error {
	var errs []error
	if r.Name == "" || strings.ContainsAny(r.Name, " /\\*?\"<>|,#") || r.Name != strings.ToLower(r.Name) || strings.HasPrefix(r.Name, "_") {
		errs = append(errs, fmt.Errorf("repository %q: a name has lower-case letters, digits, '-', '.' and '_', and does not begin with '_'", r.Name))
	}
	if needed := map[string]string{"fs": "location", "s3": "bucket"}[r.Type]; needed != "" && r.Settings[needed] == "" {
		errs = append(errs, fmt.Errorf("repository %s of type %s: the setting %s is missing", r.Name, r.Type, needed))
	}
	if r.Type == "" {
		errs = append(errs, fmt.Errorf("repository %s: the type is missing: s3, or fs", r.Name))
	}
	return errors.Join(errs...)
}

// ErrMissing says that the server has no such repository, snapshot or index.
var ErrMissing = errors.New("it is not there")

// missing adds ErrMissing to a server's 404.
func missing(err error) error {
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return err
}

// EnsureRepository creates a repository where there is none of that name, and
// has all nodes prove that they can write to it. One that is there is left as
// it is.
func (c *Client) EnsureRepository(ctx context.Context, r Repository) (created bool, err error) {
	err = missing(c.call(ctx, request{method: http.MethodGet, path: join("_snapshot", r.Name)}, nil))
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, ErrMissing) {
		return false, fmt.Errorf("look for repository %s: %w", r.Name, err)
	}
	if err := r.Validate(); err != nil {
		return false, fmt.Errorf("there is no repository %s, and it cannot be made: %w", r.Name, err)
	}
	body, err := json.Marshal(map[string]any{"type": r.Type, "settings": r.Settings})
	if err != nil {
		return false, fmt.Errorf("encode repository %s: %w", r.Name, err)
	}
	create := request{method: http.MethodPut, path: join("_snapshot", r.Name), body: body}
	if err := c.call(ctx, create, nil); err != nil {
		return false, fmt.Errorf("create repository %s: %w", r.Name, err)
	}
	return true, nil
}

// GetRepository describes a repository, so that another cluster can register
// it. The error wraps ErrMissing where there is none.
func (c *Client) GetRepository(ctx context.Context, name string) (Repository, error) {
	r := Repository{Name: name, Settings: map[string]string{}}
	var found map[string]struct {
		Type     string
		Settings map[string]any
	}
	if err := c.call(ctx, request{method: http.MethodGet, path: join("_snapshot", name)}, &found); err != nil {
		return r, fmt.Errorf("look at repository %s: %w", name, missing(err))
	}
	r.Type = found[name].Type
	for setting, value := range found[name].Settings {
		r.Settings[setting] = fmt.Sprint(value)
	}
	return r, nil
}

// RemoveRepository makes the cluster forget a repository. What is in it stays.
func (c *Client) RemoveRepository(ctx context.Context, name string) error {
	if err := c.call(ctx, request{method: http.MethodDelete, path: join("_snapshot", name)}, nil); err != nil {
		return fmt.Errorf("remove repository %s: %w", name, missing(err))
	}
	return nil
}

// Snapshot is a snapshot as the cluster describes it.
type Snapshot struct {
	Name     string
	State    string // IN_PROGRESS, SUCCESS, PARTIAL, FAILED, …
	Indices  []string
	Started  time.Time
	Ended    time.Time // zero while it is going on
	Shards   int       // all of them, and those that are in it, or failed
	Done     int
	Failed   int
	Failures []SnapshotFailure
}

// SnapshotFailure is a shard that is not in a snapshot.
type SnapshotFailure struct {
	Index  string `json:"index"`
	Shard  int    `json:"shard_id"`
	Reason string `json:"reason"`
}

// StartSnapshot begins a snapshot of indices, and of the cluster's templates,
// and returns. It takes what it can (partial): an index that is broken keeps
// none of the others out. One of that name that is there already is success,
// so that a start whose answer was lost can be repeated.
func (c *Client) StartSnapshot(ctx context.Context, repository, name string, indices []string, metadata map[string]string) error {
	if len(indices) == 0 {
		indices = []string{"*", "-*"} // none: an empty list would mean all of the cluster's
	}
	options := map[string]any{
		"indices": indices, "ignore_unavailable": true,
		"include_global_state": true, "partial": true, "metadata": metadata,
	}
	if c.flavor == Elasticsearch {
		options["feature_states"] = []string{"none"} // neither security nor anything else that is not ours
	}
	body, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("encode snapshot %s: %w", name, err)
	}
	err = c.call(ctx, request{method: http.MethodPut, path: join("_snapshot", repository, name), body: body, query: query{
		"wait_for_completion": "false",
	}}, nil)
	var status *StatusError
	// snapshot_name_already_in_use_exception, or invalid_snapshot_name_exception of older ones and OpenSearch.
	if errors.As(err, &status) && strings.Contains(status.Reason.Type, "snapshot_name") && strings.Contains(status.Reason.Reason, "same name") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("start snapshot %s in repository %s: %w", name, repository, missing(err))
	}
	return nil
}

// rawSnapshot is what the server says.
type rawSnapshot struct {
	Snapshot string            `json:"snapshot"`
	State    string            `json:"state"`
	Indices  []string          `json:"indices"`
	Start    int64             `json:"start_time_in_millis"`
	End      int64             `json:"end_time_in_millis"`
	Failures []SnapshotFailure `json:"failures"`
	Shards   struct{ Total, Failed, Successful int }
}

func (r rawSnapshot) snapshot() Snapshot {
	s := Snapshot{
		Name: r.Snapshot, State: r.State, Indices: r.Indices, Failures: r.Failures,
		Shards: r.Shards.Total, Done: r.Shards.Successful, Failed: r.Shards.Failed,
	}
	if r.Start > 0 {
		s.Started = time.UnixMilli(r.Start).UTC()
	}
	if r.End > 0 {
		s.Ended = time.UnixMilli(r.End).UTC()
	}
	return s
}

// GetSnapshot describes a snapshot. The error wraps ErrMissing where there is
// none, or no such repository.
func (c *Client) GetSnapshot(ctx context.Context, repository, name string) (Snapshot, error) {
	all, err := c.snapshots(ctx, repository, name)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("%w: %d are described", ErrMissing, len(all))
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("look at snapshot %s in repository %s: %w", name, repository, err)
	}
	return all[0], nil
}

// Snapshots describes all snapshots of a repository, in the order in which
// they were begun.
func (c *Client) Snapshots(ctx context.Context, repository string) ([]Snapshot, error) {
	all, err := c.snapshots(ctx, repository, "_all")
	if err != nil {
		return nil, fmt.Errorf("list the snapshots in repository %s: %w", repository, err)
	}
	slices.SortStableFunc(all, func(a, b Snapshot) int { return a.Started.Compare(b.Started) })
	return all, nil
}

func (c *Client) snapshots(ctx context.Context, repository, names string) ([]Snapshot, error) {
	var found struct{ Snapshots []rawSnapshot }
	look := request{method: http.MethodGet, path: join("_snapshot", repository, names)}
	if err := c.call(ctx, look, &found); err != nil {
		return nil, missing(err)
	}
	var all []Snapshot
	for _, r := range found.Snapshots {
		all = append(all, r.snapshot())
	}
	return all, nil
}

// Progress is how far a snapshot or a restore is.
type Progress struct {
	Shards int   `json:"shards"`
	Done   int   `json:"done"`
	Failed int   `json:"failed,omitempty"`
	Bytes  int64 `json:"bytes"`           // to be copied
	Copied int64 `json:"copied"`          // of them
	Kept   int64 `json:"kept,omitempty"`  // of a snapshot: bytes that an earlier one has copied
	Ready  bool  `json:"ready,omitempty"` // of a restore: every primary shard is in service
}

// SnapshotProgress says how far a snapshot is that is going on.
func (c *Client) SnapshotProgress(ctx context.Context, repository, name string) (p Progress, err error) {
	type sizes struct {
		Size int64 `json:"size_in_bytes"`
	}
	var found struct {
		Snapshots []struct {
			Shards struct {
				Total  int `json:"total"`
				Done   int `json:"done"`
				Failed int `json:"failed"`
			} `json:"shards_stats"`
			Stats struct{ Incremental, Total, Processed sizes }
		}
	}
	look := request{method: http.MethodGet, path: join("_snapshot", repository, name, "_status")}
	if err := c.call(ctx, look, &found); err != nil {
		return p, fmt.Errorf("follow snapshot %s: %w", name, missing(err))
	}
	for _, s := range found.Snapshots {
		p.Shards, p.Done, p.Failed = s.Shards.Total, s.Shards.Done, s.Shards.Failed
		p.Bytes, p.Copied = s.Stats.Incremental.Size, s.Stats.Processed.Size
		if p.Done == p.Shards {
			p.Copied = p.Bytes // it is not said any more
		}
		p.Kept = s.Stats.Total.Size - s.Stats.Incremental.Size
	}
	return p, nil
}

// DeleteSnapshot deletes a snapshot, or ends one that is going on. That it is
// not there is no error; that its repository is not, is.
func (c *Client) DeleteSnapshot(ctx context.Context, repository, name string) error {
	err := c.call(ctx, request{method: http.MethodDelete, path: join("_snapshot", repository, name)}, nil)
	var status *StatusError
	if errors.As(err, &status) && status.Reason.Type == "snapshot_missing_exception" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete snapshot %s in repository %s: %w", name, repository, missing(err))
	}
	return nil
}
