package snapshots

import (
	"context"
	"encoding/json"
	"fmt"

	"millrace/internal/snapshot"
)

// keepRepository writes down what a repository is.
func (s *Snapshotter) keepRepository(ctx context.Context, name string) error {
	repository, err := s.Cluster.GetRepository(ctx, name)
	if err != nil {
		return err
	}
	body, err := json.Marshal(repository)
	if err == nil {
		err = s.Bucket.Put(ctx, snapshot.RepositoryKey(name), body)
	}
	if err != nil {
		return fmt.Errorf("write down what repository %s is: %w", name, err)
	}
	return nil
}
