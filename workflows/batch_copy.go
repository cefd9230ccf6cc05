package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"millrace/activities/process"
)

// copyChange is the version from which on a ProcessBatch copies to the ledger
// what it holds for long.
const copyChange = "copy-to-the-ledger"

// mostCopied bounds the pieces that stand in the history for a copy; what lies
// between more of them is copied with them, which does no harm to it.
const mostCopied = 64

// copyInTime copies to the ledger what the batch still holds when the stream's
// retention is half over, once; also while an attempt goes on, which may wait
// for Elasticsearch for long. That costs two events for the version and one for
// the timer, and seven more if it comes to that, and its release.
func (b *batch) copyInTime(ctx workflow.Context) {
	if workflow.GetVersion(ctx, copyChange, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	if b.in.CopyAt.IsZero() {
		b.in.CopyAt = workflow.Now(ctx).Add(process.DefaultCopyAfter)
	}
	if b.in.Copied {
		return
	}
	workflow.GoNamed(ctx, "copy in time", func(ctx workflow.Context) {
		// It fails when the workflow is canceled, and gives up what it holds.
		if err := workflow.Sleep(ctx, b.in.CopyAt.Sub(workflow.Now(ctx))); err != nil || !b.in.Tree.open() {
			return
		}
		b.copying, b.in.Copied = true, true // an interrupted copy is to be released, too
		defer func() { b.copying = false }()
		options := rangeOptions
		options.Summary = "copy what is left to the ledger: half of the stream's retention is over"
		copied := process.CopyHeld.Execute(workflow.WithActivityOptions(ctx, options), b.copyInput(ctx))
		if err := copied.Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Error("could not copy to the ledger what is held", "error", err)
		}
		workflow.SetCurrentDetails(ctx, b.status().Markdown())
	})
}

// copyInput says what is left.
func (b *batch) copyInput(ctx workflow.Context) process.HeldInput {
	return process.HeldInput{Stream: b.in.Stream, Range: b.in.Range, Pieces: pieces(b.in.Tree), Run: workflow.GetInfo(ctx).FirstRunID}
}

// pieces are what is left of a tree.
func pieces(tree *BatchNode) (left []process.LeftRange) {
	for _, leaf := range tree.leaves() {
		left = append(left, process.LeftRange{Range: leaf.Range, Cause: leaf.Cause})
	}
	if n := len(left); n > mostCopied {
		left[0].Range.Last = left[n-1].Range.Last
		left = left[:1]
	}
	return left
}

// awaitAll waits until all updates are answered, and nothing is being copied.
func (b *batch) awaitAll(ctx workflow.Context) error {
	if err := awaitHandlers(ctx); err != nil {
		return err
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	return workflow.Await(ctx, func() bool { return !b.copying })
}

// release resolves what was copied, once the batch has ended.
func (b *batch) release(ctx workflow.Context) error {
	if !b.in.Copied {
		return nil
	}
	options := rangeOptions
	options.Summary = "resolve what was copied to the ledger"
	in := b.copyInput(ctx) // nothing is left
	if err := process.ReleaseHeld.Execute(workflow.WithActivityOptions(ctx, options), in).Get(ctx, nil); err != nil {
		return fmt.Errorf("release what was copied of %s: %w", b.in.Range, err)
	}
	return nil
}
