package localtest_test

import (
	"fmt"
	"net"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local/localtest"
)

// A client may be killed within its request, or give up.
func TestKinesaliteSurvivesItsClients(t *testing.T) {
	t.Parallel()
	cfg := localtest.Kinesalite(t)
	at, err := url.Parse(*cfg.BaseEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		client, err := new(net.Dialer).DialContext(t.Context(), "tcp", at.Host)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(client, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\n\r\nhalf of", at.Host)
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := kinesis.NewFromConfig(cfg).ListStreams(t.Context(), &kinesis.ListStreamsInput{}); err != nil {
			t.Fatalf("it does not outlive a client: %v", err)
		}
	}
}
