package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/ledger"
	"millrace/starter/find"
)

type findCommand struct {
	ID      string `arg:"" optional:"" help:"The record's own id."`
	Tenant  string `help:"Tenant whose record it is."`
	Trace   string `help:"Find the documents of a trace instead: its id." placeholder:"ID"`
	Doc     string `help:"Find a document by its id (_id in the index) instead." placeholder:"ID"`
	Request string `help:"Ask the batches of this request, too, and what they put into the fallback queue: X-Request-Id of the collector's answer. Alone, it shows those batches." placeholder:"ID"`
	Around  moment `help:"About when the record was received, to find it in the backup: 2026-11-23T10:00:00Z, or 2h for two hours ago. Default: as index or ledger know it." placeholder:"TIME"`
	Most    int    `help:"Maximum documents and ledger entries to list, each." default:"20"`

	RebuildIndex bool `help:"Rebuild the index of the ledger by which records are found: read all of its entries. Searches nothing."`

	Sink                 config.Sink `embed:""`
	config.Elasticsearch `group:"elasticsearch"`
	format
}

// Help is the details of starter find --help.
func (findCommand) Help() string {
	return "Exit status: 0 found, 1 error, or not found where a place could not be searched, 3 not found anywhere."
}

// question is what it looks for.
func (f findCommand) question() find.Question {
	return find.Question{Tenant: f.Tenant, ID: f.ID, Trace: f.Trace, Doc: f.Doc, Request: f.Request, Around: f.Around.Time, Most: f.Most}
}

// Validate reports what cannot be found.
func (f findCommand) Validate() error {
	if f.RebuildIndex {
		if f.ID != "" || f.Trace != "" || f.Doc != "" || f.Request != "" {
			return errors.New("--rebuild-index searches nothing: leave ID, --trace, --doc and --request out")
		}
		return nil
	}
	return f.question().Validate()
}

// exitNotFound is the status where a record is nowhere.
const exitNotFound = 3

// Run says where a record is.
func (f findCommand) Run(ctx context.Context, c *commands, r *config.Resources, out output, logger *slog.Logger) error {
	if f.RebuildIndex {
		book, err := openLedger(ctx, r)
		if err != nil {
			return err
		}
		return rebuildIndex(ctx, book, out)
	}
	finder, err := f.finder(ctx, c, r, logger)
	if err != nil {
		return err
	}
	answer := finder.Find(ctx, f.question())
	if err := f.print(out, answer, func() { writeAnswer(out, answer) }); err != nil {
		return err
	}
	switch {
	case answer.Failed():
		return errors.New("not found, and a place could not be searched: see above")
	case !answer.Found:
		return exit(exitNotFound)
	}
	return nil
}

// finder makes what looks everywhere.
func (f findCommand) finder(ctx context.Context, c *commands, r *config.Resources, logger *slog.Logger) (*find.Finder, error) {
	cfg, err := config.AWS(ctx)
	if err != nil {
		return nil, err
	}
	temporal, err := config.DialLazily(logger, config.Versioning{})
	if err != nil {
		return nil, err
	}
	var documents *index.Client
	if f.Sink.Kind == config.SinkElasticsearch {
		if documents, err = index.Open(f.Settings(cfg)); err != nil {
			return nil, err
		}
	}
	return find.New(cfg, *r, documents, find.Temporal{Client: temporal, Stream: r.Stream, AnswerWithin: c.AnswerWithin}), nil
}

// tellEvery is how often a rebuild says how far it is.
const tellEvery = 2 * time.Second

// rebuildIndex rebuilds the index of the ledger, and says how far it is.
func rebuildIndex(ctx context.Context, book *ledger.Ledger, out output) error {
	began, told, count := time.Now(), time.Now(), 0
	tell := func() {
		line := fmt.Sprintf("%d entries read in %s", count, time.Since(began).Round(time.Second))
		if s, ok := out.(*screen); ok && isScreen(out) {
			s.redraw(line)
			return
		}
		fmt.Fprintln(out, line)
	}
	err := book.RebuildIndex(ctx, func(entries int) {
		if count = entries; time.Since(told) >= tellEvery {
			told = time.Now()
			tell()
		}
	})
	if isScreen(out) {
		fmt.Fprintln(out)
	}
	if err != nil {
		return fmt.Errorf("after %d entries, the old index stays: %w", count, err)
	}
	fmt.Fprintf(out, "rebuilt the index of the ledger from %d entries\n", count)
	return nil
}
