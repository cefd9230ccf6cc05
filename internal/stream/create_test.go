package stream

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local/localtest"
)

func TestCreateIsIdempotent(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(testing.TB) aws.Config{"ministack": localtest.AWS, "kinesalite": localtest.Kinesalite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, client, stream := t.Context(), kinesis.NewFromConfig(config(t)), localtest.Name(t, "stream")
			t.Cleanup(func() {
				_, _ = client.DeleteStream(context.Background(), &kinesis.DeleteStreamInput{StreamName: &stream})
			})
			for _, step := range []struct {
				shards    int
				retention time.Duration
				created   bool
				want      time.Duration
			}{
				{2, 24 * time.Hour, true, 24 * time.Hour},
				{2, 24 * time.Hour, false, 24 * time.Hour},
				{3, 36*time.Hour + time.Minute, false, 37 * time.Hour}, // its shards stay
				{2, 24 * time.Hour, false, 37 * time.Hour},             // nothing is deleted
			} {
				created, err := Create(ctx, client, stream, step.shards, step.retention)
				if err != nil || created != step.created {
					t.Fatalf("%+v: created is %v, %v", step, created, err)
				}
				s, err := Open(ctx, client, stream, Settings{})
				if err != nil {
					t.Fatal(err)
				}
				if shards, err := s.Shards(ctx); err != nil || len(shards) != 2 || s.Retention() != step.want {
					t.Errorf("%+v: it has %d shards and keeps records for %v, %v", step, len(shards), s.Retention(), err)
				}
			}
		})
	}
}

func TestConcurrentCreatesAgree(t *testing.T) {
	t.Parallel()
	client, stream := kinesis.NewFromConfig(localtest.Kinesalite(t)), localtest.Name(t, "stream")
	t.Cleanup(func() {
		_, _ = client.DeleteStream(context.Background(), &kinesis.DeleteStreamInput{StreamName: &stream})
	})
	var made [4]bool
	var group errgroup.Group
	for i := range made {
		group.Go(func() (err error) {
			made[i], err = Create(t.Context(), client, stream, 1, ShortestRetention)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, created := range made {
		if created {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d of them say that they made it", count)
	}
}

func TestCreateRefusesStreamWithoutShards(t *testing.T) {
	t.Parallel()
	if _, err := Create(t.Context(), nil, "stream", 0, ShortestRetention); err == nil {
		t.Error("a stream of no shards is no error")
	}
}
