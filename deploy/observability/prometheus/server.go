package prometheus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"go.yaml.in/yaml/v3"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
)

// usualPort is not Prometheus's own, which the worker has.
const usualPort = 9095

// readyWithin bounds the start.
const readyWithin = time.Minute

// Settings say what a server does.
type Settings struct {
	Program string // path
	// Dir is where its files lie: configuration, rules, data, and log. It must exist.
	Dir   string
	Rules []byte
	// Targets are the addresses (host:port) that it scrapes, by job.
	Targets map[string][]string
	// Every is how often it scrapes, and evaluates rules that do not say so themselves.
	Every time.Duration
	// UsualPort prefers port 9095.
	UsualPort bool
}

// Server is a running Prometheus.
type Server struct {
	*pipeline.Process
	URL string
	API v1.API
}

type configuration struct {
	Global struct {
		Scrape   string `yaml:"scrape_interval"`
		Timeout  string `yaml:"scrape_timeout"`
		Evaluate string `yaml:"evaluation_interval"`
	} `yaml:"global"`
	Rules []string `yaml:"rule_files"`
	Jobs  []job    `yaml:"scrape_configs"`
}

type job struct {
	Name    string   `yaml:"job_name"`
	Targets []static `yaml:"static_configs"`
}

type static struct {
	Targets []string `yaml:"targets"`
}

// Start starts a server on the loopback interface, and waits until it answers.
func Start(ctx context.Context, s Settings) (*Server, error) {
	ports, err := local.ChoosePorts(s.UsualPort, usualPort)
	if err != nil {
		return nil, fmt.Errorf("choose a port for Prometheus: %w", err)
	}
	config, rules := filepath.Join(s.Dir, "prometheus.yml"), filepath.Join(s.Dir, "rules.yml")
	var c configuration
	c.Global.Scrape, c.Global.Evaluate = milliseconds(s.Every), milliseconds(s.Every)
	c.Global.Timeout = c.Global.Scrape
	c.Rules = []string{rules}
	for name, targets := range s.Targets {
		c.Jobs = append(c.Jobs, job{name, []static{{targets}}})
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write the configuration of Prometheus: %w", err)
	}
	for name, content := range map[string][]byte{config: text, rules: s.Rules} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return nil, fmt.Errorf("write a file of Prometheus: %w", err)
		}
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	process, err := pipeline.Start(pipeline.Command{
		Name: "prometheus", Program: s.Program, Log: filepath.Join(s.Dir, "prometheus.log"),
		Args: []string{"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(s.Dir, "prometheus"), "--web.listen-address=" + address},
	})
	if err != nil {
		return nil, err
	}
	server := &Server{Process: process, URL: "http://" + address}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := process.AwaitReady(ctx, server.URL+"/-/ready"); err != nil {
		process.Kill()
		return nil, err
	}
	client, err := api.NewClient(api.Config{Address: server.URL, Client: local.Client})
	if err != nil {
		process.Kill()
		return nil, fmt.Errorf("make a client of Prometheus: %w", err)
	}
	server.API = v1.NewAPI(client)
	return server, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }
