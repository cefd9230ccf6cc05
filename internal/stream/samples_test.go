package stream

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// pageText is a GetRecords response with records of 450 bytes.
func pageText(records int) []byte {
	data := base64.StdEncoding.EncodeToString([]byte(`{"doc_id":"` + strings.Repeat("x", 437) + `"}`))
	var text strings.Builder
	text.WriteString(`{"NextShardIterator":"next","MillisBehindLatest":1000,"Records":[`)
	for n := range records {
		if n > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"SequenceNumber":"%056d","ApproximateArrivalTimestamp":1.7E9,"Data":"%s","PartitionKey":"%040d"}`, n, data, n)
	}
	text.WriteString(`]}`)
	return []byte(text.String())
}
