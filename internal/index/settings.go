package index

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/elastic/elastic-transport-go/v8/elastictransport"
)

// Flavor is what kind of server it is.
type Flavor string

// The flavors. They speak the same protocol; product header and some mapping
// types differ.
const (
	Elasticsearch Flavor = "elasticsearch"
	OpenSearch    Flavor = "opensearch"
)

// Settings say where documents go.
type Settings struct {
	URLs     []string
	Flavor   Flavor // Elasticsearch when empty
	APIKey   string // base64; or Username and Password; or SigV4
	Username string
	Password string
	CAFile   string // PEM of the authority that signed the server's certificate; empty for the system's

	// SigV4 signs requests for Amazon OpenSearch Service, with the region and
	// the credentials of AWS.
	SigV4 bool
	AWS   aws.Config

	// Gzip compresses bodies. It costs several times the CPU of everything
	// else here, and pays where the network between costs more.
	Gzip bool

	Timeout time.Duration // of one bulk; DefaultTimeout when zero
}

const (
	// DefaultTimeout bounds one bulk request. Elasticsearch itself gives a bulk
	// one minute (parameter timeout), most of which is waiting for a shard.
	DefaultTimeout = 30 * time.Second

	// dialTimeout is shorter, so that a host which does not answer at all is
	// told apart from a body that takes too long.
	dialTimeout = 5 * time.Second

	// idleConnections is how many are kept to one host: all bulks in flight go
	// to few hosts.
	idleConnections = 64

	// idleTimeout closes those that are not needed any more, as net/http does by
	// default.
	idleTimeout = 90 * time.Second
)

func (s Settings) validate() error {
	var errs []error
	if len(s.URLs) == 0 {
		errs = append(errs, errors.New("no address of Elasticsearch is given"))
	}
	if s.Flavor != Elasticsearch && s.Flavor != OpenSearch {
		errs = append(errs, fmt.Errorf("flavor %q is neither %s nor %s", s.Flavor, Elasticsearch, OpenSearch))
	}
	if s.SigV4 && (s.AWS.Region == "" || s.AWS.Credentials == nil) {
		errs = append(errs, errors.New("signing requests needs a region and credentials of AWS"))
	}
	return errors.Join(errs...)
}

// Open makes a client. It does not connect yet.
func Open(s Settings) (*Client, error) {
	if s.Flavor == "" {
		s.Flavor = Elasticsearch
	}
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("make the Elasticsearch client: %w", err)
	}
	network, err := s.transport()
	if err != nil {
		return nil, err
	}
	addresses, err := s.addresses()
	if err != nil {
		return nil, err
	}
	// This is go-elasticsearch without its API, of which we would call a score of functions, and which takes longer to
	// compile than all else that we use.
	options := []elastictransport.Option{
		elastictransport.WithURLs(addresses...),
		elastictransport.WithTransport(network),
		elastictransport.WithDisableRetry(), // an answer that got lost must reach the outcome table
	}
	if s.APIKey != "" {
		options = append(options, elastictransport.WithAPIKey(s.APIKey))
	} else if s.Username != "" || s.Password != "" {
		options = append(options, elastictransport.WithBasicAuth(s.Username, s.Password))
	}
	if s.Gzip {
		options = append(options, elastictransport.WithCompression())
	}
	transport, err := elastictransport.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("make the Elasticsearch client: %w", err)
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	return &Client{transport: transport, flavor: s.Flavor, timeout: s.Timeout}, nil
}

// addresses are the URLs of the nodes.
func (s Settings) addresses() (all []*url.URL, err error) {
	for _, text := range s.URLs {
		address, err := url.Parse(strings.TrimRight(text, "/"))
		if err != nil {
			if parsing := (*url.Error)(nil); errors.As(err, &parsing) {
				err = parsing.Err // without the address, which may have a password in it
			}
			return nil, fmt.Errorf("read the address of Elasticsearch: %w", err)
		}
		all = append(all, address)
	}
	return all, nil
}

// transport builds the layers below go-elasticsearch, the network last.
func (s Settings) transport() (http.RoundTripper, error) {
	network := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: dialTimeout, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: idleTimeout,
		DisableCompression: true, // of answers: a filtered one is small
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	network.DialContext = func(ctx context.Context, to, address string) (net.Conn, error) {
		connection, err := dialer.DialContext(ctx, to, address)
		if err != nil {
			return nil, err
		}
		return direct{connection}, nil
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority of Elasticsearch: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the certificate authority of Elasticsearch: %s holds no certificate", s.CAFile)
		}
		network.TLSClientConfig.RootCAs = roots
	}
	var top http.RoundTripper = borrower{network}
	if s.SigV4 {
		top = newSigner(s.AWS, top)
	}
	if s.Flavor == Elasticsearch {
		top = genuine{top}
	}
	return top, nil
}
