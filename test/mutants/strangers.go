package mutants

// strangers are mistakes in what keeps one tenant's records from harming others.
var strangers = []Mutant{
	{
		Name: "made-uncounted", Clause: "what is made of a request is counted, and bounded",
		Test:  Test{"./api", "TestMemoryMadeOfRequestIsBounded"},
		Edits: []Edit{{File: "api/made.go", Old: "\tb.made += bytes\n", New: "\tb.made += min(bytes, recordOverhead)\n"}},
	},
	{
		Name: "announced-reserved", Clause: "a body has room for what has arrived, not for what was announced",
		Test: Test{"./api", "TestBodyMemoryFollowsBytesReceived"},
		Edits: []Edit{{
			File: "api/body.go",
			Old:  "larger = min(max(small, 2*size), max(int(announced), size)+1)",
			New:  "larger = max(small, max(int(announced), size)+1)",
		}},
	},
	{
		Name: "no-quarter", Clause: "one tenant has a part of the room",
		Test:  Test{"./api", "TestShareReturnsItsRoom"},
		Edits: []Edit{{File: "api/room.go", Old: " || has.bytes > s.room.mostBytes", New: ""}},
	},
	{
		Name: "grpc-no-room", Clause: "a message over gRPC has room before it is read",
		Test:  Test{"./api", "TestSilentStreamsHoldOnlyTheirTenantsRoom"},
		Edits: []Edit{{File: "api/otlpgrpc.go", Old: "held.reserve(2 * int64(s.limits.BodyBytes))", New: "held.reserve(0)"}},
	},
	{
		Name: "waste-does-nothing", Clause: "what is refused counts against the quota",
		Test:  Test{"./api", "TestRefusedRequestsCountAgainstQuota"},
		Edits: []Edit{{File: "api/quota.go", Old: "\ta.records.spend(float64(max(1, records)))\n", New: "\t_ = records\n"}},
	},
	{
		Name: "one-bad-span-fails-all", Clause: "one bad record of a request costs only itself",
		Test: Test{"./api", "TestBadRecordIsRejectedAlone"},
		Edits: []Edit{{
			File: "api/otlpwalk.go",
			Old:  "\tb.leaveOut(total - b.position)\n\treturn nil\n",
			New:  "\tb.leaveOut(total - b.position)\n\tif len(b.rejected) > 0 {\n\t\treturn errProtobuf\n\t}\n\treturn nil\n",
		}},
	},
	{
		Name: "daily-for-every-date", Clause: "arrival decides whether a record has a daily index",
		Test: Test{"./internal/telemetry", "TestPlacementFollowsArrival"},
		Edits: []Edit{{
			File: "internal/telemetry/index.go",
			Old:  "\tcase days(at, received) > w.DaysBack:\n",
			New:  "\tcase days(at, received) > 10_000*w.DaysBack:\n",
		}},
	},
	{
		Name: "looks-for-no-earlier-post", Clause: "a resend whose index has changed is found where it was",
		Test:  Test{"./internal/indexing", "TestAResendIsNotWrittenBesideItsEarlierPost"},
		Edits: []Edit{{File: "internal/indexing/resent.go", Old: "\tif len(c.resent) == 0 {\n", New: "\tif len(c.resent) >= 0 {\n"}},
	},
	{
		Name: "heads-by-name", Clause: "no member of a body takes the place of the head's",
		Test: Test{"./internal/telemetry", "TestFieldsAreReadByPosition"},
		Edits: []Edit{{
			File: "internal/telemetry/fields.go",
			Old:  "\tf := Fields{DocID: string(r.DocIDText), Index: string(r.Index)}\n",
			New: "\tvar named struct {\n\t\tDocID                           string `json:\"doc_id\"`\n\t\tIndex, Tenant, Region, ID, Type string\n\t}\n" +
				"\tif json.Unmarshal(data, &named) == nil {\n\t\treturn Fields(named)\n\t}\n\tf := Fields{DocID: string(r.DocIDText), Index: string(r.Index)}\n",
		}},
	},
	{
		Name: "circuit-of-the-shard", Clause: "poison is judged by tenant",
		Test: Test{"./activities/process", "TestAnOffenderCostsOthersNothing"},
		Edits: []Edit{
			{File: "internal/circuit/circuit.go", Old: "\tfor tenant, sample := range tally {\n", New: "\tfor _, sample := range tally {\n"},
			{File: "internal/circuit/circuit.go", Old: "c.tenants.enter(tenant, sample,", New: "c.tenants.enter(\"all\", sample,"},
			{File: "internal/circuit/circuit.go", Old: "c.tenants.mostOffend(now)", New: "c.tenants[\"all\"] != nil && c.tenants[\"all\"].Offends()"},
			{File: "internal/circuit/circuit.go", Old: "s != nil && s.Offends()", New: "s != nil && false"},
		},
	},
	{
		Name: "span-not-list", Clause: "a sparse entry has only the records that it lists",
		Test:  Test{"./activities/process", "TestLookUpsReadTheListOfASparseEntry"},
		Edits: []Edit{{File: "internal/deadletter/open.go", Old: "\treturn has, true\n", New: "\treturn len(list) > 0, true\n"}},
	},
	{
		Name: "never-parked", Clause: "an index that alone is out of service holds no shard",
		Test:  Test{"./internal/indexing", "TestAnIndexParksWhenItHasRefusedForLong"},
		Edits: []Edit{{File: "internal/indexing/parking.go", Old: "\tif !item.IndexAlone {\n", New: "\tif !item.IndexAlone || p.after > 0 {\n"}},
	},
	{
		Name: "drain-misses-the-last", Clause: "all that is parked comes home",
		Test:  Test{"./workflows", "TestDrainIndexLooksAgainForWhatWasParkedMeanwhile"},
		Edits: []Edit{{File: "workflows/drain_index.go", Old: "done && d.more == 0 &&", New: "done &&"}},
	},
	{
		Name: "letter-holds-mark", Clause: "no outage of the dead-letter queue holds a mark",
		Test: Test{"./internal/deadletter", "TestAnOutageCostsOneAttempt"},
		Edits: []Edit{{
			File: "internal/deadletter/writer.go",
			Old:  "\tfor _, at := range w.notifier.notify(ctx, entries, keys) {\n",
			New:  "\tfor _, at := range w.notifier.notify(ctx, entries, keys) {\n\t\tif at >= 0 {\n\t\t\treturn fmt.Errorf(\"no letter about %s\", keys[at])\n\t\t}\n",
		}},
	},
	{
		Name: "never-yields", Clause: "no record waits for another tenant's flood",
		Test:  Test{"./activities/process", "TestAFloodYieldsToOthersOfItsChunk"},
		Edits: []Edit{{File: "activities/process/lane.go", Old: "return s.isSlow(n) || s.large[s.Tenants.Of[n]]", New: "return s.isSlow(n)"}},
	},
	{
		Name: "batches-a-flood-with-others", Clause: "no record waits for another tenant's flood",
		Test:  Test{"./api/batching", "TestFloodDelaysNoOtherTenant"},
		Edits: []Edit{{File: "api/batching/batcher.go", Old: "\t\tline = b.yielding\n", New: "\t\tline = b.prompt\n"}},
	},
	{
		Name: "takes-conflicts-for-duplicates", Clause: "the same id with another content is never called a duplicate",
		Test:  Test{"./internal/indexing", "TestAConflictIsNoDuplicate"},
		Edits: []Edit{{File: "internal/indexing/compare.go", Old: "\tcase same:\n", New: "\tcase same || known:\n"}},
	},
}
