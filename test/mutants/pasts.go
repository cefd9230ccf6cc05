package mutants

// pasts are mistakes about what lies behind: earlier streams, what was open
// once, chains of the backup. With each, something that was lost counts as whole.
var pasts = []Mutant{
	{
		Name: "stream-found-and-forgotten", Clause: "a worker that starts without the stream puts into it once it is found",
		Test:  Test{"./workers", "TestTheIntakeWorksOnceTheStreamIsFound"},
		Edits: []Edit{{File: "workers/backends.go", Old: "\tb.entry.found.Store(found)\n", New: ""}},
	},
	{
		Name: "forgets-terminated-batches", Clause: "a snapshot has the ranges of batches that were terminated",
		Test:  Test{"./workflows/launch", "TestABatchIsOpenUntilItHasComeToItsEnd"},
		Edits: []Edit{{File: "workflows/launch/snapshot.go", Old: "NOT IN ('Completed', 'Canceled', 'ContinuedAsNew')", New: "NOT IN ('Completed', 'Canceled', 'ContinuedAsNew', 'Terminated')"}},
	},
	{
		Name: "forgets-paused-batches", Clause: "a snapshot has the ranges of batches that are paused in Temporal",
		Test:  Test{"./workflows/launch", "TestWorkflowPausedInTemporalIsOpen"},
		Edits: []Edit{{File: "workflows/launch/snapshot.go", Old: "NOT IN ('Completed', 'Canceled', 'ContinuedAsNew')", New: "NOT IN ('Completed', 'Canceled', 'ContinuedAsNew', 'Paused')"}},
	},
	{
		Name: "takes-earlier-shards-over", Clause: "a stream that was made anew is read from its beginning",
		Test:  Test{"./activities/supervise", "TestAShardOfAStreamThatWasMadeAnewIsNotTheEarlierOne"},
		Edits: []Edit{{File: "activities/supervise/supervise.go", Old: "\t\tin.Shards = nil\n", New: ""}},
	},
	{
		Name: "trusts-an-iterator", Clause: "what is trimmed ahead of a reader is reported",
		Test:  Test{"./internal/stream", "TestReaderReportsRecordsTrimmedAhead"},
		Edits: []Edit{{File: "internal/stream/reader.go", Old: "\tif r.opened && !r.trailing {\n", New: "\tif r.opened {\n"}},
	},
	{
		Name: "takes-a-later-stream-for-the-earlier", Clause: "what was not read of a stream that was deleted is reported",
		Test:  Test{"./internal/stream", "TestIteratorOfEarlierStreamReadsNothingOfLaterOne"},
		Edits: []Edit{{File: "internal/stream/reader.go", Old: "\tif now.Sub(r.heard) >= silence {\n", New: "\tif now.Sub(r.heard) < 0 {\n"}},
	},
	{
		Name: "calls-a-short-read-lost", Clause: "what is still in the stream is never called lost",
		Test:  Test{"./activities/process", "TestAShortReadIsNoLoss"},
		Edits: []Edit{{File: "activities/process/index_range.go", Old: "len(records) >= r.Count || tries == shortReads", New: "len(records) >= r.Count || tries >= 1"}},
	},
	{
		Name: "chains-by-hour", Clause: "arrivals out of order hide no object of the backup",
		Test:  Test{"./internal/backup", "TestArrivalsOutOfOrderHideNothing"},
		Edits: []Edit{{File: "internal/backup/order.go", Old: "\t\t\to.turn = before.turn\n", New: "\t\t\to.turn = o.hour\n"}},
	},
	{
		Name: "days-without-skew", Clause: "the day behind a window is listed as far as clocks differ",
		Test: Test{"./internal/backup", "TestArrivalsOutOfOrderHideNothing"},
		Edits: []Edit{{
			File: "internal/backup/read_list.go",
			Old:  "\t\tto = to.Add(ClockSkew)\n\t\tif to.Sub(from)",
			New:  "\t\tif to.Sub(from)",
		}},
	},
	{
		Name: "counts-new-for-lost", Clause: "an index that lost documents and got as many new ones is not whole",
		Test:  Test{"./internal/snapshot", "TestSettledDocumentsMustStay"},
		Edits: []Edit{{File: "internal/snapshot/settled.go", Old: "max(0, before.Settled.Wants(trimmed)-now.Still.Documents)", New: "max(0, before.Documents-now.Documents)"}},
	},
}
