// Command cmd runs the local stack: for as long as a person wants, or around one command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"millrace/deploy/local"
)

// killAfter is how long the command of run may take to end after an interrupt.
const killAfter = 20 * time.Second

type commands struct {
	Up       upCommand       `cmd:"" help:"Start the stack, and keep it running until Ctrl-C. It keeps its data."`
	Run      runCommand      `cmd:"" help:"Start a fresh stack on free ports, run a command with it, and stop it. The command's exit status is passed on."`
	Starter  starterCommand  `cmd:"" passthrough:"" help:"Run the operator's command, starter, against the demo of this clone, or else its stack."`
	Status   statusCommand   `cmd:"" help:"Show the running stack."`
	Download downloadCommand `cmd:"" help:"Download the programs that are missing, and start none."`
	Clean    cleanCommand    `cmd:"" help:"Remove all downloads and data."`
}

type stackFlags struct {
	Services          []string          `help:"Services to start (${services})." default:"${services}"`
	SearchAttribute   map[string]string `help:"Search attributes to register in Temporal, as NAME=TYPE."`
	ElasticsearchHeap string            `help:"Elasticsearch's heap." default:"1g"`
}

func (f stackFlags) options() local.Options {
	return local.Options{
		Services: f.Services, SearchAttributes: f.SearchAttribute, ElasticsearchHeap: f.ElasticsearchHeap, Progress: os.Stderr,
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	services := ""
	for i, name := range local.Services() {
		if i > 0 {
			services += ","
		}
		services += name
	}
	parsed := kong.Parse(&commands{},
		kong.Name("local"),
		kong.Description("Runs the servers that Millrace needs on this machine."),
		kong.Vars{"services": services},
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	os.Exit(report(parsed.Run(), os.Stderr))
}

// commandFailed is the failure of the command of local run, which has said why.
type commandFailed struct{ *exec.ExitError }

// report says why local fails, and returns its exit status.
func report(err error, to io.Writer) (status int) {
	var command commandFailed
	switch {
	case err == nil:
		return 0
	case errors.As(err, &command):
		return exitStatus(command.ExitError)
	}
	fmt.Fprintln(to, "error:", err)
	return 1
}

func exitStatus(exit *exec.ExitError) int {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

type upCommand struct {
	stackFlags
}

// Run starts the stack and waits for a signal.
func (c upCommand) Run(ctx context.Context) error {
	options := c.options()
	options.Name, options.UsualPorts = local.NameStack, true
	stack, err := local.Start(ctx, options)
	if err != nil {
		return err
	}
	env, err := stack.Share()
	if err != nil {
		return errors.Join(err, stack.Stop())
	}
	fmt.Printf(`
The stack runs. Stop it with Ctrl-C. In another terminal:

  ./task starter -- setup --replicas 0    # and every other command of starter
  . %s                     # or give a shell its environment

`, env)
	<-ctx.Done()
	fmt.Println("\nStopping.")
	return stack.Stop()
}

type runCommand struct {
	stackFlags
	Command []string `arg:"" passthrough:"partial" help:"Command to run, with its arguments."`
}

// Run starts a stack for one command.
func (c runCommand) Run(ctx context.Context) (err error) {
	if c.Command[0] == "--" {
		c.Command = c.Command[1:]
	}
	stack, err := local.Start(ctx, c.options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	cmd := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stack.Env()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return commandFailed{exit}
	}
	return err
}

type starterCommand struct {
	Args []string `arg:"" optional:"" help:"What starter is given."`
}

// Run builds starter and becomes it, so that signals and its exit status are its own.
func (c starterCommand) Run(ctx context.Context) error {
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	state, err := local.FindShared(root)
	if err != nil {
		return err
	}
	program := filepath.Join(root, ".local", "bin", "starter") // that of the demo
	if _, err := os.Stat(program); err != nil {
		fmt.Fprintln(os.Stderr, "Building starter, once.")
	}
	if err := local.Build(ctx, root, []local.Program{{Path: program, Source: "./starter"}}); err != nil {
		return err
	}
	if err := syscall.Exec(program, append([]string{program}, c.Args...), local.Environ(state.Env)); err != nil {
		return fmt.Errorf("run starter: %w", err)
	}
	return nil
}

type statusCommand struct{}

// Run prints the lasting stack's services.
func (statusCommand) Run() error {
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	state, err := local.ReadState(local.StateFile(root, local.NameStack))
	if err != nil {
		return err
	}
	fmt.Printf("running as process %d since %s\n", state.Pid, state.Started.Format(time.DateTime))
	for _, name := range local.Services() {
		if service, has := state.Services[name]; has {
			fmt.Printf("%-14s %-24s process %-8d log %s\n", name, service.URL, service.Pid, service.Log)
		}
	}
	return nil
}

type downloadCommand struct {
	stackFlags
}

// Run downloads.
func (c downloadCommand) Run(ctx context.Context) error { return local.Download(ctx, c.options()) }

type cleanCommand struct{}

// Run removes what the stacks of this clone made.
func (cleanCommand) Run() error {
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	return local.Clean(root)
}
