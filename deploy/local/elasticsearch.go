package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const elasticsearchVersion = "8.19.21"

// elasticsearch is the real server, in the distribution that its makers publish for integration tests: without the
// modules for ingest pipelines, reindexing, scripting, data streams, ILM and S3 repositories.
func elasticsearch(heap string) definition {
	if heap == "" {
		heap = "1g"
	}
	return searchEngine{
		name: Elasticsearch, version: elasticsearchVersion, group: "org.elasticsearch.distribution.integ-test-zip",
		port: 9200, heap: heap, variables: "ES", address: EnvElasticsearch,
		settings: "xpack.security.enabled: false\n",
	}.definition()
}

// searchEngine is what Elasticsearch and OpenSearch have in common.
type searchEngine struct {
	name, version, group string
	port                 int
	heap                 string
	variables            string // Prefix of its environment variables.
	address              string // The variable that we give its address in.
	settings             string // Its own, beside those below.
}

func (e searchEngine) definition() definition {
	return definition{
		name:         e.name,
		tools:        []tool{java, maven},
		ports:        []int{e.port, 0}, // The second is for other nodes, of which there are none.
		unprivileged: true,
		deadline:     4 * time.Minute, // Seconds, unless the machine is busy.
		install: func(ctx context.Context, s *Service) (string, error) {
			return s.installZip(ctx, e.group, e.name, e.version)
		},
		prepare: e.prepare,
		command: e.command,
		ready: func(ctx context.Context, s *Service) error {
			_, err := get(ctx, s.URL()+"/_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards&timeout=4s")
			return err
		},
		env: func(s *Service) []string { return []string{e.address + "=" + s.URL()} },
		pid: searchEnginePid,
	}
}

var garbageLog = regexp.MustCompile(`(?m)^.*-Xlog(:|gc).*$`)

func (e searchEngine) prepare(s *Service) error {
	config, tmp := filepath.Join(s.data, "config"), filepath.Join(s.data, "tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("remove temporary files: %w", err)
	}
	for _, dir := range []string{config, tmp, s.SnapshotDir(), filepath.Join(config, "jvm.options.d")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		if err := s.own(dir); err != nil {
			return err
		}
	}
	for _, name := range []string{"jvm.options", "log4j2.properties"} {
		text, err := os.ReadFile(filepath.Join(s.program, "config", name))
		if err != nil {
			return fmt.Errorf("read the distribution's configuration: %w", err)
		}
		// The garbage collector's log would go into the distribution's folder, unread.
		text = garbageLog.ReplaceAll(text, nil)
		if err := os.WriteFile(filepath.Join(config, name), text, 0o644); err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
	}
	path := func(name string) string { return filepath.Join(s.data, name) }
	settings := fmt.Sprintf(`cluster.name: millrace
node.name: local
path.data: %q
path.logs: %q
path.repo: [%q]
network.host: 127.0.0.1
http.port: %d
transport.port: %d
discovery.type: single-node
# A developer's disk may be nearly full: that is no reason to refuse writes.
cluster.routing.allocation.disk.threshold_enabled: false
`, path("data"), path("logs"), s.SnapshotDir(), s.ports[0], s.ports[1]) + e.settings
	if err := os.WriteFile(filepath.Join(config, e.name+".yml"), []byte(settings), 0o644); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

func (e searchEngine) command(s *Service) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.program, "bin", e.name))
	for _, variable := range os.Environ() { // Settings for another installation are not for this one.
		if !strings.HasPrefix(variable, e.variables+"_") && !strings.HasPrefix(variable, "JAVA_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env,
		"HOME="+s.data,
		"CLI_JAVA_OPTS=-XX:TieredStopAtLevel=1", // of the launcher, which does little
		e.variables+"_JAVA_HOME="+s.tools[java].home,
		fmt.Sprintf("%s_JAVA_OPTS=-Xms%s -Xmx%s %s", e.variables, e.heap, e.heap, os.Getenv(EnvJavaOptions)),
		e.variables+"_PATH_CONF="+filepath.Join(s.data, "config"),
		e.variables+"_TMPDIR="+filepath.Join(s.data, "tmp"),
	)
	return cmd
}

// searchEnginePid asks the server: what we start may be a launcher.
func searchEnginePid(ctx context.Context, s *Service) (int, error) {
	text, err := get(ctx, s.URL()+"/_nodes/_local?filter_path=nodes.*.process.id")
	if err != nil {
		return 0, err
	}
	var answer struct {
		Nodes map[string]struct {
			Process struct {
				ID int `json:"id"`
			} `json:"process"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, fmt.Errorf("decode the node's description: %w", err)
	}
	for _, node := range answer.Nodes {
		return node.Process.ID, nil
	}
	return 0, errors.New("the server describes no node")
}
