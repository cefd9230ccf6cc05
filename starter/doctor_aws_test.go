package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/deploy/local/localtest"
	"millrace/internal/config"
	"millrace/internal/ledger"
	"millrace/internal/telemetry"
)

// denied refuses some requests as AWS does; the emulators allow everything.
func denied(refused func(r *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !refused(r) {
			return false
		}
		if r.Header.Get("X-Amz-Target") != "" {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"AccessDeniedException","message":"not authorized"}`)
			return true
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
		return true
	}
}

func target(operation string) func(r *http.Request) bool {
	return func(r *http.Request) bool { return strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+operation) }
}

func setAttribute(w *ward, queue, name, value string) {
	w.t.Helper()
	client := sqs.NewFromConfig(w.cfg)
	found, err := client.GetQueueUrl(w.t.Context(), &sqs.GetQueueUrlInput{QueueName: &queue})
	if err == nil {
		_, err = client.SetQueueAttributes(w.t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: found.QueueUrl, Attributes: map[string]string{name: value}})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// withoutRegion is config.AWS where the environment names no region: that of the tests does.
func withoutRegion(context.Context) (aws.Config, error) {
	return aws.Config{}, errors.New("no AWS region")
}

// TestDoctorOfAWS sees each check find what is right and what is wrong.
func TestDoctorOfAWS(t *testing.T) {
	t.Parallel()
	const nothing = "skipped"
	for name, c := range map[string]struct {
		prepare     func(w *ward)
		check, want string
		texts       []string
	}{
		"a region":  {func(*ward) {}, "aws credentials", checkOK, []string{"region eu-west-1"}},
		"no region": {func(w *ward) { w.loadAWS = withoutRegion }, "aws credentials", checkFails, []string{"no AWS region", "set AWS_REGION"}},
		"no keys": {func(w *ward) {
			w.cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("none") })
		}, "aws credentials", checkFails, []string{"retrieve the credentials"}},
		"no AWS":          {func(w *ward) { w.loadAWS = withoutRegion }, "aws stream", nothing, []string{"aws credentials, which failed above"}},
		"a stream":        {func(w *ward) { w.installed() }, "aws stream", checkOK, []string{"open shards of "}},
		"no stream":       {func(*ward) {}, "aws stream", checkFails, []string{"there is no stream", "starter setup, or correct --stream"}},
		"stream away":     {func(w *ward) { w.cfg.BaseEndpoint = aws.String("http://127.0.0.1:1") }, "aws stream", checkFails, []string{"describe stream", helpAWS}},
		"reads":           {func(w *ward) { w.installed() }, "aws stream reads", checkOK, []string{"these credentials can read shardId-000000000000"}},
		"no reads":        {func(w *ward) { w.installed().at(denied(target("GetRecords"))) }, "aws stream reads", checkFails, []string{"AccessDeniedException", "kinesis:GetRecords"}},
		"no iterators":    {func(w *ward) { w.installed().at(denied(target("GetShardIterator"))) }, "aws stream reads", checkFails, []string{"AccessDeniedException"}},
		"nothing to read": {func(*ward) {}, "aws stream reads", nothing, []string{"aws stream, which failed above"}},

		"a queue":          {func(w *ward) { w.installed() }, "aws fallback queue", checkOK, nil},
		"no queue":         {func(*ward) {}, "aws fallback queue", checkFails, []string{"there is no queue", "--queue"}},
		"a queue denied":   {func(w *ward) { w.installed().at(denied(target("GetQueueAttributes"))) }, "aws fallback queue", checkFails, []string{"AccessDenied"}},
		"dead letters":     {func(w *ward) { w.installed() }, "aws dead-letter queue", checkOK, nil},
		"no dead letters":  {func(*ward) {}, "aws dead-letter queue", checkFails, []string{"there is no queue", "--dlq"}},
		"14 days":          {func(w *ward) { w.installed() }, "retention fallback queue", checkOK, []string{"336h"}},
		"a day":            {func(w *ward) { w.installed(); setAttribute(w, w.names.Queue, "MessageRetentionPeriod", "86400") }, "retention fallback queue", checkWarns, []string{"for 24h0m0s, not for 336h0m0s", "starter setup"}},
		"letters a day":    {func(w *ward) { w.installed(); setAttribute(w, w.names.DeadLetters, "MessageRetentionPeriod", "86400") }, "retention dead-letter queue", checkWarns, []string{"for 24h0m0s"}},
		"letters 14 days":  {func(w *ward) { w.installed() }, "retention dead-letter queue", checkOK, []string{"336h"}},
		"no policy":        {func(w *ward) { w.installed() }, "retention redrive policy", checkOK, nil},
		"a redrive policy": {func(w *ward) { w.installed(); setAttribute(w, w.names.Queue, "RedrivePolicy", redriveTo(w)) }, "retention redrive policy", checkFails, []string{"maxReceiveCount", `aws sqs set-queue-attributes --queue-url http`, `{"RedrivePolicy":""}`}},

		"a bucket":       {func(w *ward) { w.installed() }, "aws bucket", checkOK, []string{"list, read, write and delete"}},
		"no bucket":      {func(*ward) {}, "aws bucket", checkFails, []string{"there is no bucket", "starter setup, or correct --bucket"}},
		"no writes":      {func(w *ward) { w.installed().at(denied(method(http.MethodPut))) }, "aws bucket", checkFails, []string{"write objects of s3://", "AccessDenied"}},
		"no deletions":   {func(w *ward) { w.installed().at(denied(method(http.MethodDelete))) }, "aws bucket", checkFails, []string{"delete objects of s3://", "AccessDenied"}},
		"no reads of it": {func(w *ward) { w.installed().at(denied(method(http.MethodHead))) }, "aws bucket", checkFails, []string{"read objects of s3://"}},
		"no lists":       {func(w *ward) { w.installed().at(denied(method(http.MethodGet))) }, "aws bucket", checkFails, []string{"list objects of s3://"}},
		"a backup bucket that a Firehose writes": {func(w *ward) {
			w.installed().at(denied(method(http.MethodPut)))
			w.names.Bucket, w.names.Backups = w.names.Bucket+"x", w.names.Bucket
		}, "aws backup bucket", checkWarns, []string{"s3:PutObject", "unless a Firehose"}},
		"no backup bucket": {func(w *ward) { w.names.Backups = w.names.Bucket + "-backup" }, "aws backup bucket", checkFails, []string{"--backup-bucket"}},

		"an empty ledger": {func(w *ward) { w.installed() }, "records ledger", checkOK, []string{"open entries: 0"}},
		"a dead letter":   {func(w *ward) { w.installed(); enter(w, ledger.Bulk) }, "records ledger", checkOK, []string{"open entries: 1"}},
		"a loss":          {func(w *ward) { w.installed(); enter(w, ledger.Loss) }, "records ledger", checkWarns, []string{"open entries: 1, of which 1 say", "starter dlq show ledger/open/", "/loss-"}},
		"no ledger":       {func(*ward) {}, "records ledger", nothing, []string{"aws bucket, which failed above"}},
		"the time of AWS": {func(w *ward) { w.installed() }, "clocks aws", checkOK, []string{"within 30s"}},
		"AWS is ahead":    {func(w *ward) { w.installed().at(shifted(time.Hour)) }, "clocks aws", checkFails, []string{"ahead of this", "NTP"}},
		"AWS is behind":   {func(w *ward) { w.installed().at(shifted(-time.Minute)) }, "clocks aws", checkFails, []string{"behind this"}},
		"AWS has no time": {func(w *ward) { w.cfg.BaseEndpoint = aws.String("http://127.0.0.1:1") }, "clocks aws", nothing, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t)
			c.prepare(w)
			w.finds(c.check, c.want, c.texts...)
		})
	}
}

func method(of string) func(r *http.Request) bool {
	return func(r *http.Request) bool { return r.Method == of && r.Header.Get("X-Amz-Target") == "" }
}

// shifted refuses at another time.
func shifted(by time.Duration) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
		return denied(method(http.MethodHead))(w, r)
	}
}

func redriveTo(w *ward) string {
	w.t.Helper()
	client := sqs.NewFromConfig(w.cfg)
	found, err := client.GetQueueUrl(w.t.Context(), &sqs.GetQueueUrlInput{QueueName: &w.names.DeadLetters})
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := client.GetQueueAttributes(w.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: found.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return `{"deadLetterTargetArn":"` + out.Attributes["QueueArn"] + `","maxReceiveCount":"5"}`
}

func enter(w *ward, kind ledger.Kind) {
	w.t.Helper()
	_, err := ledger.New(w.bucketOf(), w.names.Stream).Add(w.t.Context(), ledger.Entry{
		Kind: kind, At: time.Now(), Range: telemetry.Range{StreamARN: "arn:aws:kinesis:us-east-1:1:stream/" + w.names.Stream, Shard: "shardId-000000000000", First: "1", Last: "2"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestRightsOfABucketChangeNothing, also where the store knows no conditions.
func TestRightsOfABucketChangeNothing(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"with conditions": func(http.ResponseWriter, *http.Request) bool { return false },
		"without one for writes": func(w http.ResponseWriter, r *http.Request) bool {
			conditional := r.Header.Get("If-Match") != ""
			if conditional && r.Method == http.MethodDelete {
				w.WriteHeader(http.StatusPreconditionFailed)
				return true
			}
			r.Header.Del("If-Match")
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t).installed()
			if _, err := config.S3(w.cfg).PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
				Bucket: &w.names.Bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
			}); err != nil {
				t.Fatal(err)
			}
			w.at(answer).finds("aws bucket", checkOK)
			versions, err := config.S3(localtest.AWS(t)).ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &w.names.Bucket})
			if err != nil {
				t.Fatal(err)
			}
			if left := len(versions.Versions) + len(versions.DeleteMarkers); left > 0 && name == "with conditions" {
				t.Errorf("%d versions and markers are left", left)
			}
			for key, err := range w.bucketOf().Keys(t.Context(), "") {
				t.Errorf("%s is left, %v", key, err)
			}
		})
	}
}
