package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
	"millrace/workflows"
)

// StartServers starts a stack with what a pipeline needs, and meanwhile builds
// the programs. options need no search attributes, and as services only those
// beside the usual ones.
func StartServers(ctx context.Context, options local.Options) (stack *local.Stack, programs Programs, err error) {
	if options.Root == "" {
		if options.Root, err = local.FindRoot("."); err != nil {
			return nil, programs, err
		}
	}
	options.Services = append([]string{local.Temporal, local.Elasticsearch, local.AWS}, options.Services...)
	options.SearchAttributes = map[string]string{}
	for _, attribute := range workflows.SearchAttributes {
		options.SearchAttributes[attribute] = "Keyword"
	}
	if options.Progress != nil {
		fmt.Fprintf(options.Progress, "%-14s building; the first time takes minutes\n", "programs")
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		stack, err = local.Start(ctx, options)
		return err
	})
	group.Go(func() (err error) {
		begin := time.Now()
		programs, err = Build(ctx, options.Root, filepath.Join(options.Root, ".local", "bin"))
		if err == nil && options.Progress != nil {
			fmt.Fprintf(options.Progress, "%-14s built after %.1f s\n", "programs", time.Since(begin).Seconds())
		}
		return err
	})
	if err := group.Wait(); err != nil {
		if stack != nil {
			err = errors.Join(err, stack.Stop())
		}
		return nil, programs, err
	}
	return stack, programs, nil
}

// S3 makes a client for a stack's S3.
func S3(stack *local.Stack) *s3.Client {
	return s3.NewFromConfig(local.AWSConfig(stack.Service(local.AWS).URL()), func(o *s3.Options) { o.UsePathStyle = true })
}
