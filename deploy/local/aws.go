package local

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"millrace/internal/awshttp"
)

const (
	ministackVersion = "1.5.33"
	duckdbVersion    = "2.0.0" // Runs Athena's queries.
)

// aws is MiniStack, which emulates many AWS services behind one port. It keeps everything in memory; a lasting one
// writes it down when it is stopped in order, but not when it is killed.
func aws(lasting bool) definition {
	return definition{
		name:     AWS,
		tools:    []tool{python},
		ports:    []int{4566},
		deadline: 4 * time.Minute,
		install: func(ctx context.Context, s *Service) (string, error) {
			return s.installPython(ctx, ministackVersion, "ministack=="+ministackVersion, "duckdb=="+duckdbVersion)
		},
		command: func(s *Service) *exec.Cmd {
			cmd := exec.Command(s.tools[python].path, "-m", "ministack")
			cmd.Env = append(os.Environ(),
				"PYTHONPATH="+s.program,
				"BIND_HOST=127.0.0.1",
				"MINISTACK_HOST=127.0.0.1",
				"MINISTACK_REGION="+Region,
				"GATEWAY_PORT="+strconv.Itoa(s.ports[0]),
				"SERVICES=kinesis,sqs,s3,athena,glue",
				"ATHENA_ENGINE=duckdb",
				"IOT_MTLS_ENABLED=0", // It would listen on every interface.
				"LOG_LEVEL=WARNING",
				"STATE_DIR="+filepath.Join(s.data, "state"),
				"S3_DATA_DIR="+filepath.Join(s.data, "s3"),
				"TMPDIR="+s.data,
			)
			if lasting {
				cmd.Env = append(cmd.Env, "PERSIST_STATE=1", "S3_PERSIST=1")
			}
			return cmd
		},
		ready: func(ctx context.Context, s *Service) error {
			_, err := get(ctx, s.URL()+"/_ministack/health")
			return err
		},
		env: func(s *Service) []string {
			return append(credentialVariables(), "AWS_ENDPOINT_URL="+s.URL())
		},
	}
}

// anyCredential is key and secret: the emulators do not check them.
const anyCredential = "test"

func credentialVariables() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + anyCredential, "AWS_SECRET_ACCESS_KEY=" + anyCredential, "AWS_REGION=" + Region}
}

// AWSConfig is the configuration for clients of an emulator at an address. Those of S3 must set UsePathStyle.
func AWSConfig(url string) awssdk.Config {
	return awssdk.Config{
		BaseEndpoint: &url,
		HTTPClient:   awshttp.Wrap(nil),
		Region:       Region,
		Credentials:  credentials.NewStaticCredentialsProvider(anyCredential, anyCredential, ""),
	}
}
