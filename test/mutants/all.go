package mutants

import "slices"

// PanicsAtBad is no mutant that a test must notice, but a bug that it needs:
// a worker that panics at the bad records of a load, as one could at any.
var PanicsAtBad = Mutant{
	Name: "panics-at-bad", Clause: "none: a panic is to be survived", Scenario: "record-that-panics",
	Edits: []Edit{{
		File: "internal/indexing/chunk.go",
		Old:  "\t\tr, err := c.parser.Parse(c.Records[i].Data)\n",
		New:  "\t\tif strings.Contains(string(c.Records[i].Data), `\"not a number\"`) {\n\t\t\tpanic(\"a bug\")\n\t\t}\n\t\tr, err := c.parser.Parse(c.Records[i].Data)\n",
	}, {
		File: "internal/indexing/chunk.go",
		Old:  "\t\"slices\"\n", New: "\t\"slices\"\n\t\"strings\"\n",
	}},
}

// All are the mutants, one or more for each clause of conservation.
var All = slices.Concat(records, strangers, pasts)

// records are mistakes on the way of a record.
var records = []Mutant{
	{
		Name: "answers-before-durable", Clause: "what was answered 2xx is durable", Scenario: "temporal-down",
		Edits: []Edit{{
			File: "api/batching/sender.go",
			Old:  "func (s *sender) send(ctx context.Context, records [][]byte) (batch requestid.Batch, err error) {\n",
			New:  "func (s *sender) send(ctx context.Context, records [][]byte) (batch requestid.Batch, err error) {\n\tgo func() { _, _ = s.sendLater(ctx, records) }()\n\treturn batch, nil\n}\n\nfunc (s *sender) sendLater(ctx context.Context, records [][]byte) (batch requestid.Batch, err error) {\n",
		}},
	},
	{
		Name: "checkpoint-early", Clause: "the mark passes only what is durable elsewhere", Scenario: "elasticsearch-down",
		Edits: []Edit{{
			File: "activities/process/pipeline.go",
			Old:  "\t\tif !ok || !p.settle(c, place) {\n\t\t\treturn\n\t\t}\n\t\tp.finish(c)\n",
			New:  "\t\tif !ok {\n\t\t\treturn\n\t\t}\n\t\tp.finish(c)\n\t\tif !p.settle(c, place) {\n\t\t\treturn\n\t\t}\n",
		}},
	},
	{
		Name: "passes-what-it-drops", Clause: "an audit of the backup finds what the mark has passed and nothing has",
		Test: Test{"./test/recovery", "TestAuditFindsEveryRecord"},
		Edits: []Edit{{
			File: "activities/process/pipeline.go",
			Old:  "\t\tif !ok || !p.settle(c, place) {\n\t\t\treturn\n\t\t}\n\t\tp.finish(c)\n",
			New:  "\t\tif !ok {\n\t\t\treturn\n\t\t}\n\t\tc.Records = c.Records[:len(c.Records)-1]\n\t\tif !p.settle(c, place) {\n\t\t\treturn\n\t\t}\n\t\tp.finish(c)\n",
		}},
	},
	{
		Name: "marks-before-success", Clause: "an id is marked only when it is indexed", Scenario: "all-poison",
		Edits: []Edit{{
			File: "internal/indexing/chunk.go",
			Old:  "\t\tc.add(r, now)\n\t\tc.at = append(c.at, i)\n",
			New:  "\t\tx.Seen.Mark(x.Seen.Generation(), c.ids[i], c.digests[i].Short())\n\t\tc.add(r, now)\n\t\tc.at = append(c.at, i)\n",
		}},
	},
	{
		Name: "trusts-the-status", Clause: "each item's status is looked at", Scenario: "elasticsearch-429",
		Edits: []Edit{{
			File: "internal/indexing/run.go",
			Old:  "\t\t\tagain = append(again, i)\n",
			New:  "\t\t\tc.Counts.Indexed++\n",
		}},
	},
	{
		Name: "drops-a-position", Clause: "each position that the stream rejects goes to the queue", Scenario: "entries-rejected",
		Edits: []Edit{{
			File: "internal/intake/intake.go",
			Old:  "rest, sendErr := i.send(ctx, Pick(records, rejected))",
			New:  "rest, sendErr := i.send(ctx, Pick(records, rejected[1:]))",
		}},
	},
	{
		Name: "deletes-before-the-put", Clause: "a message is deleted only when its records are in the stream", Scenario: "stream-throttled",
		Edits: []Edit{{
			File: "activities/redrive/redrive.go",
			Old:  "\tbegun, extended := time.Now(), time.Now()\n",
			New:  "\tfor _, l := range loads {\n\t\t_ = r.Queue.Delete(r.call.Work, l.Message)\n\t}\n\tbegun, extended := time.Now(), time.Now()\n",
		}},
	},
	{
		Name: "skips-the-ledger", Clause: "what is not indexed is in the ledger, with its payload", Scenario: "scattered-poison",
		Edits: []Edit{{
			File: "activities/process/dead_letters.go",
			Old:  "\tif len(anew) == 0 {\n",
			New:  "\tif len(anew) > 0 || len(anew) == 0 {\n",
		}},
	},
	{
		Name: "forgets-the-error", Clause: "what is not indexed is in the ledger, with its error", Scenario: "scattered-poison",
		Edits: []Edit{{File: "internal/ledger/entry.go", Old: "Type: f.Type, Error: cause, Data: data}", New: "Type: f.Type, Data: data}"}},
	},
	{
		Name: "mends-the-payload", Clause: "the ledger has a record as it was posted", Scenario: "scattered-poison",
		Edits: []Edit{{
			File: "internal/ledger/entry.go",
			Old:  "Error: cause, Data: data}",
			New:  "Error: cause, Data: []byte(strings.Replace(string(data), `\"not a number\"`, \"0\", 1))}",
		}},
	},
	{
		Name: "sends-no-letter", Clause: "the dead-letter queue reports what is in the ledger", Scenario: "scattered-poison",
		Edits: []Edit{{File: "internal/deadletter/notifier.go", Old: "untaken, err := n.dlq.Send(ctx, letters)\n", New: "untaken, err := []int(nil), ctx.Err()\n"}},
	},
	{
		Name: "hands-nothing-over", Clause: "the mark passes a range only when its ProcessBatch has started", Scenario: "canceled-and-terminated",
		Edits: []Edit{{
			File: "activities/process/handover.go",
			Old:  "\tstart := func() error { return b.starter.StartBatch(b.call.Work, b.stream, h.Range, h.cause, h.copyAt) }\n",
			New:  "\tstart := func() error { return nil }\n",
		}},
	},
	{
		Name: "forgets-the-id", Clause: "no document is there twice", Scenario: "worker-killed-before-checkpoint",
		Edits: []Edit{{
			File: "internal/sink/bulk.go",
			Old:  "\tb.body = append(b.body, r.DocIDText...)\n",
			New:  "\tb.body = append(b.body, r.DocIDText...)\n\tb.body = indexedAt.UTC().AppendFormat(b.body, \"150405.000\")\n",
		}},
	},
	{
		Name: "renews-at-the-tip", Clause: "reading goes on where it stood", Scenario: "iterator-expired",
		Edits: []Edit{{
			File: "internal/stream/poll.go",
			Old:  "\t\tinput.ShardIteratorType = types.ShardIteratorTypeAtSequenceNumber\n\t\tinput.StartingSequenceNumber = &at.sequence\n",
			New:  "\t\tinput.ShardIteratorType = types.ShardIteratorTypeLatest\n",
		}},
	},
	{
		Name: "cuts-the-body", Clause: "the body is intact", Scenario: "scattered-poison",
		Edits: []Edit{{
			File: "internal/telemetry/record.go",
			Old:  "\t\tdst = append(dst, inner...)\n",
			New:  "\t\tdst = append(dst, bytes.TrimSuffix(bytes.Replace(inner, []byte(`\"Ok\"`), []byte(`\"\"`), 1), []byte(\",\"))...)\n",
		}},
	},
	{
		Name: "forgets-what-was-terminated", Clause: "what an operator terminates is taken up again", Scenario: "canceled-and-terminated",
		Edits: []Edit{{
			File: "activities/ingest/ingest.go",
			Old:  "if err := g.Batches.UnfinishedBatches(ctx, since, takeUp(g.Batches.RestartBatch)); err != nil {",
			New:  "if err := error(nil); err != nil {",
		}},
	},
	{
		Name: "resolves-too-early", Clause: "an entry is done only when each of its records has ended well",
		Test: Test{"./activities/deadletters", "TestReprocessingBringsEveryRecordHome"},
		Edits: []Edit{{
			File: "activities/deadletters/reprocess_entry.go",
			Old:  "\t\tif record.Ended == \"\" {\n\t\t\treturn r, false\n\t\t}\n",
			New:  "",
		}},
	},
	{
		Name: "deletes-letters-first", Clause: "a dead letter is deleted only when the ledger has what it reports",
		Test: Test{"./activities/deadletters", "TestNoLetterIsLostWhenItsKeeperDies"},
		Edits: []Edit{{
			File: "activities/deadletters/keep_letters.go",
			Old:  "\terr := l.Damaged\n\tif err == nil {\n\t\terr = k.keep(l)\n\t}\n",
			New:  "\t_ = k.Queue.Delete(k.call.Work, l)\n\terr := l.Damaged\n\tif err == nil {\n\t\terr = k.keep(l)\n\t}\n",
		}},
	},
	{
		Name: "takes-what-is-held", Clause: "what a ProcessBatch holds is not brought home by another while it runs",
		Test: Test{"./activities/deadletters", "TestReprocessingLeavesHeldRecordsToTheirBatch"},
		Edits: []Edit{{
			File: "activities/deadletters/reprocess_gather.go",
			Old:  "\t\tif i.held = held; held || err != nil {\n",
			New:  "\t\tif i.held = held && false; err != nil {\n",
		}},
	},
	{
		Name: "releases-what-is-held", Clause: "a copy is done only when its ProcessBatch has ended",
		Test: Test{"./workflows", "TestWhatABatchHoldsForLongIsCopiedOnce"},
		Edits: []Edit{{
			File: "workflows/batch_copy.go",
			Old:  "\t\tworkflow.SetCurrentDetails(ctx, b.status().Markdown())\n\t})\n",
			New:  "\t\t_ = b.release(ctx)\n\t})\n",
		}},
	},
	{
		Name: "forgets-its-copy", Clause: "what the stream has no longer is indexed from its copy",
		Test: Test{"./activities/process", "TestWhatIsTrimmedIsIndexedFromTheCopy"},
		Edits: []Edit{{
			File: "activities/process/index_range.go",
			Old:  "\t\tif len(found) < r.Count {\n",
			New:  "\t\tif r.Count < 0 {\n",
		}},
	},
	{
		Name: "tells-an-id-raw", Clause: "the dead-letter queue takes each letter, whatever an id holds",
		Test:  Test{"./internal/deadletter", "TestLettersHoldOnlyWhatSQSTakes"},
		Edits: []Edit{{File: "internal/queue/deadletter.go", Old: "\treturn ascii(text), nil\n", New: "\treturn string(text), nil\n"}},
	},
	{
		Name: "forgets-untold-entries", Clause: "what an outage of the dead-letter queue kept back is told later", Scenario: "dead-letter-queue-down",
		Edits: []Edit{{
			File: "internal/deadletter/writer.go",
			Old:  "\t\tif err := w.ledger.NoteUntold(ctx, keys[at]); err != nil {\n",
			New:  "\t\tif err := error(nil); at < 0 {\n",
		}},
	},
	{
		Name: "passes-without-the-ledger", Clause: "the mark passes a bad record only when the ledger has it", Scenario: "ledger-down",
		Edits: []Edit{{
			File: "internal/deadletter/writer.go",
			Old:  "\t\treturn fmt.Errorf(\"write to the ledger: %w\", err)\n",
			New:  "\t\tslog.ErrorContext(ctx, fmt.Sprint(\"the ledger is away: \", err))\n",
		}},
	},
	{
		Name: "finds-half-of-a-merge", Clause: "a record of the ledger is found, also while its index is merged",
		Test: Test{"./internal/ledger/lookup", "TestFindMissesNothingWhileOthersMerge"},
		Edits: []Edit{{
			File: "internal/ledger/lookup/index.go",
			Old:  "\t\tif !changed {\n",
			New:  "\t\tif changed || !changed {\n",
		}},
	},
	{
		Name: "lets-the-second-win", Clause: "the first content of an id stays", Scenario: "same-id-other-content",
		Edits: []Edit{
			{File: "internal/sink/bulk.go", Old: "`{\"create\":{\"_index\":\"`", New: "`{\"index\":{\"_index\":\"`"},
			{File: "internal/index/response.go", Old: "`json:\"create\"`", New: "`json:\"index\"`"},
		},
	},
	{
		Name: "blames-records-for-a-block", Clause: "nothing transient is dead-lettered", Scenario: "one-index-write-blocked",
		Edits: []Edit{{
			File: "internal/index/outcome.go",
			Old:  "\t\"cluster_block_exception\":                     outcome.Transient,",
			New:  "\t\"cluster_block_exception\":                     outcome.Poison,",
		}},
	},
	{
		Name: "ends-without-elasticsearch", Clause: "a start in an outage waits for its end", Scenario: "worker-started-without-elasticsearch",
		Edits: []Edit{{
			File: "workers/cmd/main.go",
			Old:  "\ttemporal, err := config.DialLazily(logger, s.Versioning, tracer.Interceptors()...)\n",
			New:  "\tif err := to.cluster.Ready(ctx); err != nil {\n\t\treturn err\n\t}\n\ttemporal, err := config.DialLazily(logger, s.Versioning, tracer.Interceptors()...)\n",
		}},
	},
	{
		Name: "keeps-no-quota", Clause: "a tenant beyond its quota is told to come again", Scenario: "another-beyond-its-quota",
		Edits: []Edit{{File: "api/quota.go", Old: "\tif b.rate == 0 || missing <= 0 {\n", New: "\tif b.rate >= 0 || missing <= 0 {\n"}},
	},
	{
		Name: "decodes-beyond-the-limit", Clause: "records beyond the limit are counted and never decoded",
		Test: Test{"./api", "TestRecordsBeyondLimitAreLeftOut"},
		Edits: []Edit{{
			File: "api/otlpwalk.go",
			Old:  "; b.more() && records.next(recordsField); {\n",
			New:  "; records.next(recordsField); {\n",
		}},
	},
	{
		Name: "moves-on-unverified", Clause: "what was trimmed unread is reported",
		Test:  Test{"./internal/stream", "TestReaderReportsUnreadTrimmedRecords"},
		Edits: []Edit{{File: "internal/stream/reader.go", Old: "\treturn len(b.records) > 0 || b.behind == 0 ||", New: "\treturn len(b.records) >= 0 || b.behind == 0 ||"}},
	},
	{
		Name: "blames-all-for-one", Clause: "one tenant's poison delays no other tenant",
		Test:  Test{"./internal/circuit", "TestMostTenantsMustOffend"},
		Edits: []Edit{{File: "internal/circuit/tenants.go", Old: "\tleastOffenders = 2\n", New: "\tleastOffenders = 1\n"}},
	},
}
