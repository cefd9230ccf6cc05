package index

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestRoomOfACluster: an index takes as much of it as it has shards, also with
// replicas that no node takes.
func TestRoomOfACluster(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s server) {
		room, err := s.client.Room(t.Context())
		if err != nil || room.Limit != 1000 || room.Used < 0 || room.Free() != room.Limit-room.Used {
			t.Fatalf("%+v, %v", room, err)
		}
		name := s.plain(t)
		s.call(t, http.MethodPut, "/"+name, `{"settings":{"number_of_shards":1,"number_of_replicas":60}}`)
		with, err := s.client.Room(t.Context())
		if err != nil || with.Used < 61 {
			t.Errorf("with 61 shards: %+v, %v", with, err)
		}
	})
}

func TestTheLimitThatHolds(t *testing.T) {
	t.Parallel()
	const health = `{"number_of_data_nodes":3,"active_shards":100,"initializing_shards":10,"unassigned_shards":5}`
	for settings, want := range map[string]Room{
		`{}`: {3000, 115},
		`{"defaults":{"cluster":{"max_shards_per_node":"1000"}}}`:                                                                                  {3000, 115},
		`{"persistent":{"cluster":{"max_shards_per_node":"20"}},"defaults":{"cluster":{"max_shards_per_node":"1000"}}}`:                            {60, 115},
		`{"transient":{"cluster":{"max_shards_per_node":"30"}},"persistent":{"cluster":{"max_shards_per_node":"20"}}}`:                             {90, 115},
		`{"defaults":{"cluster":{"max_shards_per_node":"1000","routing":{"allocation":{"total_shards_limit":"-1"}}}}}`:                             {3000, 115},
		`{"persistent":{"cluster":{"routing":{"allocation":{"total_shards_limit":"200"}}}},"defaults":{"cluster":{"max_shards_per_node":"1000"}}}`: {200, 115},
	} {
		cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Elastic-Product", "Elasticsearch")
			w.Header().Set("Content-Type", "application/json")
			answer := health
			if r.URL.Path == "/_cluster/settings" {
				answer = settings
			}
			_, _ = w.Write([]byte(answer))
		}))
		t.Cleanup(cluster.Close)
		c, err := Open(Settings{URLs: []string{cluster.URL}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Room(t.Context()); err != nil || got != want {
			t.Errorf("with %s: %+v, want %+v: %v", settings, got, want, err)
		}
	}
	for room, want := range map[Room]bool{{1000, 900}: false, {1000, 901}: true, {60, 115}: true} {
		if room.Full() != want || room.Free() < 0 {
			t.Errorf("%+v is full: %v, and has %d free", room, room.Full(), room.Free())
		}
	}
}
