package indexing

// Counts says what became of the records of a shard. Those of a checkpoint are
// of exactly the records up to it, so that a takeover counts nothing twice:
// Records = Indexed + Earlier() + DeadLetters + HandedOver.
type Counts struct {
	Records     int64 `json:"records"`
	Indexed     int64 `json:"indexed"`
	Duplicates  int64 `json:"duplicates"`          // indexed earlier, by the cache or by Elasticsearch
	Conflicts   int64 `json:"conflicts,omitempty"` // their id was indexed earlier, and says something else
	Unchecked   int64 `json:"unchecked,omitempty"` // one of these two: they were not compared
	DeadLetters int64 `json:"deadLetters"`         // in the ledger
	HandedOver  int64 `json:"handedOver"`          // to a ProcessBatch
	Batches     int64 `json:"batches"`             // ProcessBatch workflows started
	// Parked are those of the dead letters that are in the ledger until their
	// index takes writes again.
	Parked int64 `json:"parked,omitempty"`
	Losses int64 `json:"losses"` // ranges that were trimmed before they were read
}

// Add adds the counts of what came next.
func (c *Counts) Add(o Counts) {
	c.Records += o.Records
	c.Indexed += o.Indexed
	c.AddEarlier(o)
	c.DeadLetters += o.DeadLetters
	c.HandedOver += o.HandedOver
	c.Batches += o.Batches
	c.Losses += o.Losses
	c.Parked += o.Parked
}

// AddEarlier adds what was indexed earlier.
func (c *Counts) AddEarlier(o Counts) {
	c.Duplicates += o.Duplicates
	c.Conflicts += o.Conflicts
	c.Unchecked += o.Unchecked
}

// Earlier counts the records whose id was indexed earlier.
func (c Counts) Earlier() int64 { return c.Duplicates + c.Conflicts + c.Unchecked }
