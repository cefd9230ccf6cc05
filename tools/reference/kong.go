package reference

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Settings returns tables of the flags that a program also reads from its environment, and of those without a variable:
// one table for each group.
func Settings(flags []*kong.Flag) string {
	var out strings.Builder
	last := "none"
	for _, f := range inGroups(flags) {
		title := ""
		if f.Group != nil {
			title = strings.TrimSuffix(f.Group.Title, ":")
		}
		if title != last {
			if title != "" {
				out.WriteString("\n**" + title + "**\n")
			}
			out.WriteString("\n")
			head(&out, "variable", "flag", "default", "meaning")
			last = title
		}
		row(&out, variables(f), code("--"+f.Name), defaultOf(f), f.Help)
	}
	return out.String()
}

// FromEnvironment returns the flags of all commands that have a variable, each once.
func FromEnvironment(n *kong.Node) []*kong.Flag {
	var found []*kong.Flag
	add := func(flags []*kong.Flag) {
		for _, f := range flags {
			known := slices.ContainsFunc(found, func(other *kong.Flag) bool { return slices.Equal(other.Envs, f.Envs) })
			if len(f.Envs) > 0 && !known {
				found = append(found, f)
			}
		}
	}
	add(n.Flags)
	for _, leaf := range n.Leaves(true) {
		add(leaf.Flags)
	}
	return found
}

// inGroups sorts flags by the first appearance of their group; those without one come first.
func inGroups(flags []*kong.Flag) []*kong.Flag {
	order := map[string]int{"": 0}
	key := func(f *kong.Flag) string {
		if f.Group == nil {
			return ""
		}
		return f.Group.Key
	}
	all := shown(flags)
	for _, f := range all {
		if _, known := order[key(f)]; !known {
			order[key(f)] = len(order)
		}
	}
	slices.SortStableFunc(all, func(a, b *kong.Flag) int { return cmp.Compare(order[key(a)], order[key(b)]) })
	return all
}

// shown are the flags that --help shows, without itself.
func shown(flags []*kong.Flag) []*kong.Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(f *kong.Flag) bool { return f.Hidden || f.Name == "help" })
}

func variables(f *kong.Flag) string {
	var all []string
	for _, name := range f.Envs {
		all = append(all, code(name))
	}
	return strings.Join(all, ", ")
}

// defaultOf is a flag's default; durations as in the documents: 5m, not 5m0s.
func defaultOf(f *kong.Flag) string {
	if f.Required {
		return "required"
	}
	value := f.Default
	if d, err := time.ParseDuration(value); err == nil && d.String() == value {
		value = strings.Replace(value, "m0s", "m", 1)
	}
	return code(value)
}

// Commands returns a section for each command: its subcommands, and their arguments and flags. A flag that several
// subcommands share stands there once. Flags that every command takes are among the settings.
func Commands(commands ...*kong.Node) string {
	var out strings.Builder
	for _, top := range commands {
		if top.Hidden {
			continue
		}
		out.WriteString("### " + top.Name + "\n\n" + top.Help + "\n\n")
		if top.Leaf() {
			options(&out, top)
			continue
		}
		leaves := top.Leaves(true)
		head(&out, "command", "")
		for _, leaf := range leaves {
			row(&out, code(synopsis(leaf)), leaf.Help)
		}
		out.WriteString("\n")
		options(&out, leaves...)
	}
	return out.String()
}

// synopsis is a command with its arguments and the flags that it requires.
func synopsis(leaf *kong.Node) string {
	name := leaf.Name
	if leaf.Parent.DefaultCmd == leaf {
		name = "[" + name + "]"
	}
	parts := []string{leaf.Parent.Name, name}
	for _, argument := range leaf.Positional {
		parts = append(parts, argument.Summary())
	}
	for _, f := range leaf.Flags {
		if f.Required {
			parts = append(parts, "--"+f.Name+" "+strings.ToUpper(f.Name))
		}
	}
	return strings.Join(parts, " ")
}

// option is an argument or a flag, and the commands that take it.
type option struct {
	name, value, help string
	of                []string
}

// options writes a table of all arguments and flags of some commands.
func options(out *strings.Builder, commands ...*kong.Node) {
	var all []*option
	add := func(command *kong.Node, o option) {
		for _, known := range all {
			if known.name == o.name && known.value == o.value && known.help == o.help {
				known.of = append(known.of, command.Name)
				return
			}
		}
		o.of = []string{command.Name}
		all = append(all, &o)
	}
	for _, command := range commands {
		for _, argument := range command.Positional {
			add(command, option{name: code("<" + argument.Name + ">"), value: code(argument.Default), help: argument.Help})
		}
		for _, f := range shown(command.Flags) {
			name := "--" + f.Name
			if f.Tag.Negatable != "" {
				name = "--[no-]" + f.Name
			}
			add(command, option{name: code(name), value: defaultOf(f), help: f.Help})
		}
	}
	if len(all) == 0 {
		return
	}
	titles := []string{"argument, flag", "of", "default", "meaning"}
	if len(commands) == 1 {
		titles = slices.Delete(titles, 1, 2)
	}
	head(out, titles...)
	for _, o := range all {
		cells := []string{o.name, strings.Join(o.of, ", "), o.value, o.help}
		if len(o.of) == len(commands) {
			cells[1] = "all"
		}
		if len(commands) == 1 {
			cells = slices.Delete(cells, 1, 2)
		}
		row(out, cells...)
	}
	out.WriteString("\n")
}
