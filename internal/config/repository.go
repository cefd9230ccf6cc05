package config

import (
	"fmt"
	"maps"

	"millrace/internal/index"
)

// RepositoryName says whose snapshots are meant: the same for starter and
// worker.
type RepositoryName struct {
	Name string `name:"repository" help:"Name of the snapshot repository." default:"millrace" env:"MILLRACE_SNAPSHOT_REPOSITORY"`
}

// Validate reports a name that no cluster would take.
func (r RepositoryName) Validate() error {
	return Repository{RepositoryName: r, Type: "s3"}.Validate()
}

// Repository is where the cluster keeps snapshots.
type Repository struct {
	RepositoryName

	Type     string            `name:"repository-type" help:"Type of the repository, if it is registered anew: s3, or fs if all nodes share a folder below path.repo." enum:"s3,fs" default:"s3" env:"MILLRACE_SNAPSHOT_REPOSITORY_TYPE"`
	Settings map[string]string `name:"repository-setting" help:"Settings of that type, besides bucket and base_path (s3) or location (fs): region, role_arn, storage_class, …" placeholder:"NAME=VALUE,…" mapsep:"," env:"MILLRACE_SNAPSHOT_REPOSITORY_SETTINGS"`
}

// For is the repository that is made where none is given: in the pipeline's
// bucket, or in a folder of its name.
func (r Repository) For(bucket string) index.Repository {
	settings := map[string]string{}
	if r.Type == "s3" {
		settings["bucket"], settings["base_path"] = bucket, "elasticsearch/"+r.Name
	} else {
		settings["location"] = r.Name
	}
	maps.Copy(settings, r.Settings)
	return index.Repository{Name: r.Name, Type: r.Type, Settings: settings}
}

// Validate reports what no cluster would take.
func (r Repository) Validate() error {
	if err := r.For("any").Validate(); err != nil {
		return fmt.Errorf("--repository: %w", err)
	}
	return nil
}
