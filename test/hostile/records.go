package hostile

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/load"
	"millrace/internal/telemetry"
)

const (
	perPost = 50

	firstYear, years = 2020, 15

	floodEvery   = 30 * time.Second
	floodPosts   = 20
	floodRecords = 1000 // of a post
)

// array is the body of a post to /v1/telemetry.
func array(records int, one func(n int) string) []byte {
	var body bytes.Buffer
	for n := range records {
		body.WriteByte("[,"[min(n, 1)])
		body.WriteString(one(n))
	}
	body.WriteByte(']')
	return body.Bytes()
}

// ScatterDates names as many indices as it can.
func ScatterDates(ctx context.Context, a *Attacker) error {
	types := append([]string{telemetry.TypeOther}, telemetry.Types...)
	return every(ctx, time.Second, func(turn int) error {
		return a.post(ctx, "/v1/telemetry", array(perPost, func(n int) string {
			day := time.Date(firstYear, 1, 1+rand.IntN(years*365), 12, 0, 0, 0, time.UTC)
			return fmt.Sprintf(`{"id":"dated-%d-%d","type":%q,"timestamp":%q}`, turn, n, types[rand.IntN(len(types))], day.Format(time.RFC3339))
		}), nil)
	})
}

// Pretend posts what the index refuses, every other post as if it were another
// tenant's.
func Pretend(ctx context.Context, a *Attacker) error {
	return every(ctx, time.Second/2, func(turn int) error {
		return a.post(ctx, "/v1/telemetry", array(perPost, func(n int) string {
			spoof := ""
			if turn%2 == 0 {
				spoof = forged(a.victim, fmt.Sprintf("%s-%d", a.victim, n))
			}
			return fmt.Sprintf(`{"id":"poison-%d-%d","type":"span","timestamp":%q,"duration":%q%s}`,
				turn, n, time.Now().UTC().Format(time.RFC3339Nano), load.BadDuration, spoof)
		}), nil)
	})
}

// forged are members that pretend to stand at the head of another's record, or
// to be what Elasticsearch keeps of a document.
func forged(victim, id string) string {
	return fmt.Sprintf(`,"Tenant":%q,"TENANT":%q,"Doc_ID":"AAAAAAAAAAAAAAAAAAAAAAAAAAA","Index":".security","INDEX":"telemetry-span-2020.01.01",`+
		`"ID":%q,"Type":"log","Received_At":"2020-01-01T00:00:00.000Z","Region":"elsewhere","Digest":"0000000000000000",`+
		`"_id":"x","_index":"y","_source":{},"_doc_count":1000000,"_routing":"z"`, victim, victim, id)
}

// Flood posts far more than its quota, in bursts.
func Flood(ctx context.Context, a *Attacker) error {
	return every(ctx, floodEvery, func(turn int) error {
		group, ctx := errgroup.WithContext(ctx)
		for post := range floodPosts {
			group.Go(func() error {
				return a.post(ctx, "/v1/telemetry", array(floodRecords, func(n int) string {
					return fmt.Sprintf(`{"id":"flood-%d-%d-%d","type":"log","timestamp":%q,"body":{"text":"one of very many"},"attributes":{"http.route":"/flood"}}`,
						turn, post, n, time.Now().UTC().Format(time.RFC3339Nano))
				}), nil)
			})
		}
		return group.Wait()
	})
}
