// Package local runs the servers that Millrace needs on a developer's machine: Temporal, Elasticsearch, OpenSearch, and
// emulators of the AWS services. They are the real servers wherever there is one, run as child processes, listen on the
// loopback interface only, and are downloaded once into the ignored folder .local of the clone.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// The services that a stack can have.
const (
	Temporal      = "temporal"
	Elasticsearch = "elasticsearch"
	OpenSearch    = "opensearch"
	AWS           = "aws"        // Kinesis, SQS, S3, Athena and Glue, by MiniStack.
	Kinesalite    = "kinesalite" // A Kinesis that reshards, and keeps its records through a kill.
)

// Services names every service, in the order in which they are shown.
func Services() []string {
	return []string{Temporal, Elasticsearch, OpenSearch, AWS, Kinesalite}
}

// The environment that a stack gives to the processes that use it, next to the names that the AWS and Temporal
// libraries define.
const (
	EnvStack         = "MILLRACE_STACK"             // Path of the stack's state file.
	EnvElasticsearch = "MILLRACE_ELASTICSEARCH_URL" // Elasticsearch's address.
	EnvOpenSearch    = "MILLRACE_OPENSEARCH_URL"    // OpenSearch's address.
	EnvKinesalite    = "MILLRACE_KINESALITE_URL"    // Kinesalite's address.
)

// EnvJavaOptions names the variable with options for the Java machines of a stack, beside their heap. Tests have many
// short-lived servers, which compile for longer than it helps them.
const EnvJavaOptions = "MILLRACE_STACK_JAVA_OPTIONS"

// Region is the AWS region of the emulators.
const Region = "eu-west-1"

// Options say which stack to start.
type Options struct {
	// Root is the clone, which holds .local. Default: the one around the working directory.
	Root string

	// Services to start. Default: all.
	Services []string

	// Name makes a lasting stack: it keeps its data between starts, and only one of a name runs in a clone.
	// Without a name the data is temporary, and any number of stacks may run.
	Name string

	// Fresh makes a named stack forget what an earlier one of its name left, and keep nothing.
	Fresh bool

	// UsualPorts prefers the ports that people know (7233, 9200, …); those that are taken, and all of them otherwise,
	// are chosen freely.
	UsualPorts bool

	// SearchAttributes to register in Temporal, as name and type.
	SearchAttributes map[string]string

	// Heap of Elasticsearch and of OpenSearch, as Java writes it. Defaults: 1g and 512m.
	ElasticsearchHeap, OpenSearchHeap string

	// Progress gets progress lines. Default: none.
	Progress io.Writer
}

// Stack is a set of running services.
type Stack struct {
	name     string
	fresh    bool
	folders  folders
	services []*Service
	lock     *lock
	progress *progress
	started  time.Time

	save   sync.Mutex // Held while shared changes, or the state file.
	shared []string   // The environment that Share wrote, each as KEY=VALUE.
}

// Start downloads what is missing, starts the services, and waits until all are healthy. On an error nothing is left
// running. ctx bounds the start alone; the stack runs until Stop, or until this process dies.
func Start(ctx context.Context, options Options) (_ *Stack, err error) {
	definitions, found, folders, err := plan(ctx, &options)
	if err != nil {
		return nil, err
	}
	sweep(folders)
	progress := &progress{to: options.Progress}
	stack := &Stack{name: options.Name, fresh: options.Fresh, folders: folders, progress: progress, started: time.Now()}
	if err := stack.takeLock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stack.Stop())
		}
	}()
	if stack.forgets() {
		if err := errors.Join(folders.removeData(stack.name), os.RemoveAll(folders.logs(stack.name))); err != nil {
			return nil, fmt.Errorf("remove what an earlier stack left: %w", err)
		}
	}
	if err := os.MkdirAll(folders.logs(stack.name), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for logs: %w", err)
	}
	ports := portChooser{usual: options.UsualPorts}
	for _, d := range definitions {
		service := &Service{definition: d, stack: stack, tools: found, data: stack.folders.data(stack.name, d.name, d.unprivileged)}
		service.log = filepath.Join(stack.folders.logs(stack.name), d.name+".log")
		if service.ports, err = ports.choose(d.ports); err != nil {
			return nil, fmt.Errorf("choose ports for %s: %w", d.name, err)
		}
		for i, usual := range d.ports {
			if options.UsualPorts && usual != 0 && service.ports[i] != usual {
				progress.line(d.name, "port %d is taken: it gets port %d", usual, service.ports[i])
			}
		}
		stack.services = append(stack.services, service)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, service := range stack.services {
		group.Go(func() error {
			if err := service.install(ctx); err != nil {
				return fmt.Errorf("install %s: %w", service.Name(), err)
			}
			return service.start(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return stack, stack.writeState()
}

// Download downloads what is missing of the programs, and starts none: a stack that is started meanwhile waits for it.
func Download(ctx context.Context, options Options) error {
	definitions, found, folders, err := plan(ctx, &options)
	if err != nil {
		return err
	}
	stack := &Stack{folders: folders, progress: &progress{to: options.Progress}}
	group, ctx := errgroup.WithContext(ctx)
	for _, d := range definitions {
		service := &Service{definition: d, stack: stack, tools: found}
		group.Go(func() error {
			if err := service.install(ctx); err != nil {
				return fmt.Errorf("install %s: %w", service.Name(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// plan completes the options, and finds what their services need on this machine.
func plan(ctx context.Context, options *Options) (all []definition, found map[tool]foundTool, in folders, err error) {
	if options.Root == "" {
		if options.Root, err = FindRoot("."); err != nil {
			return nil, nil, in, err
		}
	}
	if options.Root, err = filepath.Abs(options.Root); err != nil {
		return nil, nil, in, fmt.Errorf("resolve the clone's path: %w", err)
	}
	if all, err = define(options); err != nil {
		return nil, nil, in, err
	}
	if found, err = checkTools(ctx, all); err != nil {
		return nil, nil, in, err
	}
	in, err = makeFolders(options.Root)
	return all, found, in, err
}

// define returns the definitions of the services that options ask for.
func define(options *Options) ([]definition, error) {
	if len(options.Services) == 0 {
		options.Services = Services()
	}
	all := map[string]definition{
		Temporal:      temporal(options.SearchAttributes),
		Elasticsearch: elasticsearch(options.ElasticsearchHeap),
		OpenSearch:    opensearch(options.OpenSearchHeap),
		AWS:           aws(options.Name != "" && !options.Fresh),
		Kinesalite:    kinesalite(),
	}
	var definitions []definition
	for _, name := range Services() {
		if slices.Contains(options.Services, name) {
			definitions = append(definitions, all[name])
		}
	}
	for _, name := range options.Services {
		if _, known := all[name]; !known {
			return nil, fmt.Errorf("unknown service %q: there are %v", name, Services())
		}
	}
	return definitions, nil
}

// takeLock holds the stack's name, and makes up one for a temporary stack.
func (s *Stack) takeLock() (err error) {
	if s.name != "" {
		s.lock, err = tryLock(s.folders.lock(s.name))
		if errors.Is(err, errLocked) {
			return alreadyRuns(s.folders.state(s.name), s.name)
		}
		return err
	}
	for n := 0; ; n++ {
		s.name = fmt.Sprintf("%s%d-%d", temporaryPrefix, os.Getpid(), n)
		if s.lock, err = tryLock(s.folders.lock(s.name)); !errors.Is(err, errLocked) {
			return err
		}
	}
}

// Env returns the variables that tell a process where the stack is, each as KEY=VALUE.
func (s *Stack) Env() []string {
	env := []string{EnvStack + "=" + s.StateFile()}
	for _, service := range s.services {
		for _, variable := range service.definition.env(service) {
			if !slices.Contains(env, variable) { // Two services share the credentials.
				env = append(env, variable)
			}
		}
	}
	return env
}

// StateFile is the path of the file that describes the running stack.
func (s *Stack) StateFile() string { return s.folders.state(s.name) }

// Service returns a service of this stack; it panics if the stack was started without it.
func (s *Stack) Service(name string) *Service {
	for _, service := range s.services {
		if service.Name() == name {
			return service
		}
	}
	panic("the stack has no service " + name)
}

// Services returns the services of this stack.
func (s *Stack) Services() []*Service { return slices.Clone(s.services) }

// Stop stops every service, and removes the data of a temporary stack. The log files stay until the next start.
func (s *Stack) Stop() error {
	var group errgroup.Group
	for _, service := range s.services {
		group.Go(service.Stop)
	}
	err := group.Wait()
	err = errors.Join(err, removeIfThere(s.folders.env(s.name)), removeIfThere(s.StateFile()))
	if s.forgets() {
		err = errors.Join(err, s.folders.removeData(s.name))
	}
	if isTemporary(s.name) {
		err = errors.Join(err, removeIfThere(s.folders.lock(s.name)))
	}
	s.lock.release()
	return err
}

// forgets: the data goes when the stack stops.
func (s *Stack) forgets() bool { return s.fresh || isTemporary(s.name) }

// LogDir is the folder of the servers' logs, for those of processes beside them. It stays until the next start.
func (s *Stack) LogDir() string { return s.folders.logs(s.name) }

// progress writes whole lines.
type progress struct {
	mu sync.Mutex
	to io.Writer
}

func (p *progress) line(service, format string, args ...any) {
	if p.to == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.to, "%-14s %s\n", service, fmt.Sprintf(format, args...))
}
