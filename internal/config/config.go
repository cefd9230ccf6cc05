// Package config holds the settings that several binaries share, as structs
// that kong fills from flags and environment, and the clients built from them.
// A wrong setting fails at start with the name of its flag.
package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"

	"millrace/internal/awshttp"
	"millrace/internal/heartbeat"
	"millrace/internal/index"
)

// Resources names what Millrace uses in AWS.
type Resources struct {
	Stream      string `help:"Kinesis data stream of the telemetry." default:"millrace-telemetry-stream" env:"MILLRACE_STREAM"`
	Queue       string `help:"SQS queue for records that the stream rejects." default:"millrace-telemetry-queue" env:"MILLRACE_QUEUE"`
	DeadLetters string `help:"SQS queue of dead-letter messages." name:"dlq" default:"millrace-telemetry-dlq" env:"MILLRACE_DLQ"`
	Bucket      string `help:"S3 bucket of ledger, backup and oversized messages." default:"millrace-telemetry" env:"MILLRACE_BUCKET"`
	// Backups is another bucket that the backup is in: see BackupBucket.
	Backups string `help:"S3 bucket of the backup, if it is another one, such as a Firehose's; default: --bucket." name:"backup-bucket" env:"MILLRACE_BACKUP_BUCKET"`
}

// BackupBucket names the bucket of the backup.
func (r Resources) BackupBucket() string { return cmp.Or(r.Backups, r.Bucket) }

// The rules of AWS for names (API references of CreateStream, CreateQueue and
// CreateBucket).
var (
	streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)
	queueName  = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,80}$`)
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
)

// Validate reports every name that AWS would refuse.
func (r Resources) Validate() error {
	var errs []error
	check := func(flag, name string, rule *regexp.Regexp) {
		if !rule.MatchString(name) {
			errs = append(errs, fmt.Errorf("--%s: %q does not match %s", flag, name, rule))
		}
	}
	check("stream", r.Stream, streamName)
	check("queue", r.Queue, queueName)
	check("dlq", r.DeadLetters, queueName)
	check("bucket", r.Bucket, bucketName)
	check("backup-bucket", r.BackupBucket(), bucketName)
	return errors.Join(errs...)
}

// Logging is how a process logs.
type Logging struct {
	LogLevel  slog.Level `help:"Lowest level to log: debug, info, warn or error." default:"info" env:"MILLRACE_LOG_LEVEL"`
	LogFormat string     `help:"Format of log lines: text or json." enum:"text,json" default:"json" env:"MILLRACE_LOG_FORMAT"`
}

// Logger makes the process's logger, on standard error, and its default.
func (l Logging) Logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: l.LogLevel}
	var handler slog.Handler = slog.NewJSONHandler(os.Stderr, options)
	if l.LogFormat == "text" {
		handler = slog.NewTextHandler(os.Stderr, options)
	}
	logger := slog.New(handler)
	slog.SetDefault(logger)
	return logger
}

// AWS loads the SDK's configuration from its own environment and files.
func AWS(ctx context.Context) (aws.Config, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return cfg, fmt.Errorf("load the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return cfg, errors.New("no AWS region: set AWS_REGION")
	}
	cfg.HTTPClient = awshttp.Wrap(cfg.HTTPClient)
	return cfg, nil
}

// S3 makes a client; an endpoint that is not Amazon's is addressed by path,
// since names of buckets do not resolve there.
func S3(cfg aws.Config) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = cfg.BaseEndpoint != nil || os.Getenv("AWS_ENDPOINT_URL") != "" || os.Getenv("AWS_ENDPOINT_URL_S3") != ""
	})
}

// Temporal reads address, namespace, TLS and keys from Temporal's own
// environment variables and its file (package envconfig).
func Temporal(logger *slog.Logger) (client.Options, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return options, fmt.Errorf("load the Temporal configuration: %w", err)
	}
	options.Logger = log.NewStructuredLogger(logger)
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, heartbeat.Patient())
	// The SDK would compress each request with gzip, and so the server each answer. But most are small, and those that are
	// not hold a batch, which is compressed already.
	options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	return options, nil
}

// DialLazily makes a Temporal client that connects when it is first used, so
// that a process can start while Temporal is away. Its workers are of the
// version, if there is one. It and they count in Prometheus's default registry, and
// pass through the interceptors.
func DialLazily(logger *slog.Logger, version Versioning, interceptors ...interceptor.ClientInterceptor) (client.Client, error) {
	options, err := Temporal(logger)
	if err != nil {
		return nil, err
	}
	if options.MetricsHandler, err = sdkMetrics(); err != nil {
		return nil, err
	}
	options.Interceptors = append(options.Interceptors, interceptors...)
	if version.BuildID != "" {
		plugin, err := version.plugin()
		if err != nil {
			return nil, err
		}
		options.Plugins = append(options.Plugins, plugin)
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fmt.Errorf("make the Temporal client: %w", err)
	}
	return c, nil
}

// CheckTemporal reports whether Temporal answers.
func CheckTemporal(ctx context.Context, c client.Client) error {
	if _, err := c.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return fmt.Errorf("reach Temporal: %w", err)
	}
	return nil
}

// Elasticsearch is where documents go, and how to authenticate there.
type Elasticsearch struct {
	URLs      []string `name:"elasticsearch-url" help:"Addresses of Elasticsearch or OpenSearch." default:"http://127.0.0.1:9200" env:"MILLRACE_ELASTICSEARCH_URL"`
	Flavor    string   `name:"elasticsearch-flavor" help:"elasticsearch or opensearch." enum:"elasticsearch,opensearch" default:"elasticsearch" env:"MILLRACE_ELASTICSEARCH_FLAVOR"`
	APIKey    string   `name:"elasticsearch-api-key" help:"API key of the cluster (base64)." env:"MILLRACE_ELASTICSEARCH_API_KEY"`
	Username  string   `name:"elasticsearch-username" help:"User for basic authentication." env:"MILLRACE_ELASTICSEARCH_USERNAME"`
	Password  string   `name:"elasticsearch-password" help:"Password for basic authentication." env:"MILLRACE_ELASTICSEARCH_PASSWORD"`
	CAFile    string   `name:"elasticsearch-ca" help:"PEM file of the authority that signed the cluster's certificate." type:"existingfile" env:"MILLRACE_ELASTICSEARCH_CA"`
	AWSSigned bool     `name:"elasticsearch-sigv4" help:"Sign requests for Amazon OpenSearch Service." env:"MILLRACE_ELASTICSEARCH_SIGV4"`
}

// Validate reports settings that cannot work together.
func (e Elasticsearch) Validate() error {
	var errs []error
	for _, u := range e.URLs {
		if parsed, err := url.Parse(u); err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
			errs = append(errs, errors.New("--elasticsearch-url: not an http or https address"))
		}
	}
	if e.APIKey != "" && e.Username != "" {
		errs = append(errs, errors.New("--elasticsearch-api-key and --elasticsearch-username: give one of them"))
	}
	if e.AWSSigned && (e.APIKey != "" || e.Username != "") {
		errs = append(errs, errors.New("--elasticsearch-sigv4: leave out API key and username"))
	}
	return errors.Join(errs...)
}

// Settings are the same for the client. cfg signs requests, if they are to be.
func (e Elasticsearch) Settings(cfg aws.Config) index.Settings {
	return index.Settings{
		URLs: e.URLs, Flavor: index.Flavor(e.Flavor), APIKey: e.APIKey, Username: e.Username, Password: e.Password,
		CAFile: e.CAFile, SigV4: e.AWSSigned, AWS: cfg,
	}
}
