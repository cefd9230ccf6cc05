package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// confirmation is what a command asks for that stops, deletes or gives up what cannot
// be had back at once.
type confirmation struct {
	Yes bool `help:"Do not ask. A command that has no terminal needs it." short:"y"`
}

// ask asks whether to do something on the terminal, and returns an error unless the
// answer is yes.
func (c confirmation) ask(out output, what string) error {
	if c.Yes {
		return nil
	}
	if !isTerminal(os.Stdin) || !isScreen(out) {
		return fmt.Errorf("%s: give --yes, since there is no terminal to ask on", what)
	}
	fmt.Fprintf(out, "%s? [y/N] ", what)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("%s: not confirmed, nothing was done", what)
}
