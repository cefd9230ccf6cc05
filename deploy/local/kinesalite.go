package local

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const kinesaliteVersion = "3.3.3"

// Kinesalite's own launcher listens on every interface, and limits an account to ten shards. Kinesalite throws what it
// hears of a client that goes away within its request, and dies of it: that is no reason to.
const kinesaliteLauncher = `
const [program, path, port] = process.argv.slice(1)
process.on('uncaughtException', err => {
  if (err.code === 'ECONNRESET') return
  console.error(err)
  process.exit(1)
})
require(program)({path, shardLimit: 10000, createStreamMs: 50, deleteStreamMs: 50, updateStreamMs: 50})
  .listen(Number(port), '127.0.0.1')
`

// kinesalite emulates Kinesis alone, with resharding, and keeps its records through a kill.
func kinesalite() definition {
	return definition{
		name:     Kinesalite,
		tools:    []tool{node},
		ports:    []int{4567},
		deadline: 4 * time.Minute,
		install: func(ctx context.Context, s *Service) (string, error) {
			return s.installNode(ctx, kinesaliteVersion, "kinesalite@"+kinesaliteVersion)
		},
		command: func(s *Service) *exec.Cmd {
			return exec.Command(s.tools[node].path, "-e", kinesaliteLauncher, "--",
				filepath.Join(s.program, "node_modules", "kinesalite"), filepath.Join(s.data, "db"), strconv.Itoa(s.ports[0]))
		},
		ready: kinesaliteReady,
		env: func(s *Service) []string {
			return append(credentialVariables(), EnvKinesalite+"="+s.URL())
		},
	}
}

func kinesaliteReady(ctx context.Context, s *Service) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL(), strings.NewReader("{}"))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", "Kinesis_20131202.ListStreams")
	request.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test, Signature=test, SignedHeaders=test")
	_, err = do(request)
	return err
}
