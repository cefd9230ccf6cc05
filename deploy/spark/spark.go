// Package spark runs an analyst's job over the objects of a backup, with the
// engine that EMR runs: count.py, by the schema in deploy/tables.
package spark

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"millrace/deploy/local"
)

// version is that of PyPI's pyspark, 434 MB. It brings all of Spark but Java.
const version = "4.0.1"

// threads and memory are what a job may take of this machine.
const (
	threads = 2
	memory  = "1g"
)

// Spark is installed.
type Spark struct {
	root, packages, interpreter, java string
}

// Install downloads Spark, once. root is the clone; progress gets progress
// lines, and may be nil.
func Install(ctx context.Context, root string, progress io.Writer) (*Spark, error) {
	home, err := local.JavaHome(ctx)
	if err != nil {
		return nil, err
	}
	packages, interpreter, err := local.InstallPython(ctx, root, progress, "spark", version, "pyspark=="+version)
	if err != nil {
		return nil, err
	}
	return &Spark{root: root, packages: packages, interpreter: interpreter, java: home}, nil
}

// Group is a part of the records.
type Group struct {
	Name    string `json:"group"` // type, tenant or hour
	Value   string `json:"value"`
	Records uint64 `json:"records"`
	IDs     uint64 `json:"ids"` // distinct
}

// Counts is what Spark found.
type Counts struct {
	Groups     []Group
	Records    uint64 // that a collector wrote
	Distinct   uint64 // of them, by doc_id
	Foreign    uint64 // that no collector wrote
	Unreadable uint64 // lines that are no JSON
	IDs        map[string]bool
}

// Count counts and groups what is in the folder of a backup, as Download made
// it. What Spark writes is left in the folder work. Both paths are absolute.
func (s *Spark) Count(ctx context.Context, objects, work string) (Counts, error) {
	ids := filepath.Join(work, "ids")
	cmd := exec.Command(s.interpreter, filepath.Join(s.root, "deploy", "spark", "count.py"),
		"--schema", filepath.Join(s.root, "deploy", "tables", "telemetry.spark.json"), "--objects", objects, "--ids", ids)
	cmd.Env = append(os.Environ(),
		"PYTHONPATH="+s.packages, "PYSPARK_PYTHON="+s.interpreter, "JAVA_HOME="+s.java,
		"SPARK_HOME="+filepath.Join(s.packages, "pyspark"), "SPARK_LOCAL_IP=127.0.0.1", "SPARK_LOCAL_DIRS="+work,
		"PYSPARK_SUBMIT_ARGS="+strings.Join(submit, " "),
	)
	cmd.Dir = work
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := run(ctx, cmd); err != nil {
		return Counts{}, fmt.Errorf("run Spark: %w\n%s", err, lastLines(problems.String()))
	}
	counts, err := parse(&out)
	if err != nil {
		return counts, err
	}
	counts.IDs, err = readIDs(ids)
	return counts, err
}

// submit runs a job in one process of this machine, without its web server.
var submit = []string{
	"--master", fmt.Sprintf("local[%d]", threads), "--driver-memory", memory,
	"--conf", "spark.driver.bindAddress=127.0.0.1", "--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.ui.enabled=false",
	"--conf", fmt.Sprintf("spark.sql.shuffle.partitions=%d", threads),
	"--driver-java-options", "'-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'", // a short job
	"pyspark-shell",
}

// run runs a command with all that it starts, until it or ctx ends.
func run(ctx context.Context, cmd *exec.Cmd) error {
	if err := local.StartChild(cmd, nil); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

// lastLines keeps what fits a message.
func lastLines(text string) string {
	const size = 4 << 10
	return text[max(0, len(text)-size):]
}

// parse reads what count.py prints: groups, and last the totals.
func parse(out io.Reader) (counts Counts, err error) {
	for lines := json.NewDecoder(out); ; {
		var line struct {
			Group
			Foreign, Unreadable uint64
		}
		if err := lines.Decode(&line); err != nil {
			return counts, fmt.Errorf("read what Spark counted: %w", err)
		}
		if line.Name == "" {
			counts.Records, counts.Distinct, counts.Foreign, counts.Unreadable = line.Records, line.IDs, line.Foreign, line.Unreadable
			return counts, nil
		}
		counts.Groups = append(counts.Groups, line.Group)
	}
}

// readIDs reads the ids that Spark has written, in as many files as it likes.
func readIDs(dir string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "part-*"))
	if err != nil {
		return nil, fmt.Errorf("find the ids: %w", err)
	}
	ids := map[string]bool{}
	for _, file := range files {
		if err := readLines(file, func(line string) { ids[line] = true }); err != nil {
			return nil, fmt.Errorf("read the ids: %w", err)
		}
	}
	return ids, nil
}

func readLines(file string, each func(string)) error {
	text, err := os.Open(file)
	if err != nil {
		return err
	}
	defer text.Close()
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		each(lines.Text())
	}
	return lines.Err()
}
