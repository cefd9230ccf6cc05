package audit

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/internal/load"
)

const (
	backupKey   = "backup/dt=" // what the keys of backup objects begin with
	longestLine = 4 << 20      // in bytes
)

// Backup is what is in the backup, by its objects alone.
type Backup struct {
	Objects  uint64
	Records  uint64 // lines, whatever came twice
	Accepted uint64 // of the accepted records, those that are there
	Altered  uint64 // records that differ from what was posted
	Others   uint64 // records of other senders, distinct
}

// BackedUp reads every object of the backup.
func BackedUp(ctx context.Context, stores Stores, sent ...Sent) (Backup, error) {
	var found Backup
	sets, others := make([]load.Set, len(sent)), map[string]bool{}
	a := &audit{senders: sent}
	err := stores.objects(ctx, backupKey, func(_ string, body io.Reader) error {
		found.Objects++
		text, err := gzip.NewReader(body)
		if err != nil {
			return fmt.Errorf("unpack the object: %w", err)
		}
		lines := bufio.NewScanner(text)
		lines.Buffer(nil, longestLine)
		for lines.Scan() {
			i, err := identify(lines.Bytes())
			if err != nil {
				return fmt.Errorf("decode a line: %w", err)
			}
			if stores.Tenant != "" && i.Tenant != stores.Tenant {
				continue
			}
			found.Records++
			sender, n := a.sender(i.ID)
			if sender < 0 {
				others[i.key()] = true
				continue
			}
			if difference(sent[sender].Source.Append(nil, n), lines.Bytes()) != "" {
				found.Altered++
			}
			if sent[sender].Accepted.Has(n) && sets[sender].Add(n) {
				found.Accepted++
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("read the object: %w", err)
		}
		return nil
	})
	found.Others = uint64(len(others))
	return found, err
}

// objects reads the objects whose keys begin with a prefix.
func (s Stores) objects(ctx context.Context, prefix string, each func(key string, body io.Reader) error) error {
	pages := s3.NewListObjectsV2Paginator(s.S3, &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		for _, object := range page.Contents {
			if err := s.object(ctx, aws.ToString(object.Key), each); err != nil {
				return fmt.Errorf("read %s: %w", aws.ToString(object.Key), err)
			}
		}
	}
	return nil
}

func (s Stores) object(ctx context.Context, key string, each func(key string, body io.Reader) error) error {
	object, err := s.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
	if err != nil {
		return fmt.Errorf("get the object: %w", err)
	}
	defer object.Body.Close()
	return each(key, object.Body)
}
