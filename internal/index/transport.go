package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// errNotElasticsearch is why an answer does not count.
var errNotElasticsearch = errors.New("the server that answered is not Elasticsearch (its answer lacks the header X-Elastic-Product): check the address, and what stands in between")

// genuine refuses the successes of what is not Elasticsearch, which has a header of
// its own in every answer from 7.14 on: a proxy's 200 acknowledges nothing.
type genuine struct{ next http.RoundTripper }

// RoundTrip sends the request.
func (t genuine) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err == nil && response.StatusCode < http.StatusMultipleChoices && response.Header.Get("X-Elastic-Product") != "Elasticsearch" {
		_ = response.Body.Close() // it is not read
		return nil, errNotElasticsearch
	}
	return response, err
}

// signer signs requests with AWS Signature Version 4.
type signer struct {
	next        http.RoundTripper
	signer      *v4.Signer
	credentials aws.CredentialsProvider
	region      string
}

// service is what Amazon OpenSearch Service is called in signatures (service
// authorization reference, 'Amazon OpenSearch Service').
const service = "es"

func newSigner(cfg aws.Config, next http.RoundTripper) signer {
	return signer{next: next, signer: v4.NewSigner(), credentials: aws.NewCredentialsCache(cfg.Credentials), region: cfg.Region}
}

// RoundTrip signs a copy of the request and sends it.
func (t signer) RoundTrip(r *http.Request) (*http.Response, error) {
	hash, err := hashBody(r)
	if err != nil {
		closeBody(r)
		return nil, fmt.Errorf("hash the request to sign it: %w", err)
	}
	credentials, err := t.credentials.Retrieve(r.Context())
	if err != nil {
		closeBody(r)
		return nil, fmt.Errorf("retrieve credentials to sign the request: %w", err)
	}
	r = r.Clone(r.Context())
	if err := t.signer.SignHTTP(r.Context(), credentials, r, hash, service, t.region, time.Now()); err != nil {
		closeBody(r)
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	return t.next.RoundTrip(r)
}

// hashBody reads a second copy of the body: every request of ours has one.
func hashBody(r *http.Request) (string, error) {
	hash := sha256.New()
	if r.Body != nil && r.Body != http.NoBody {
		body, err := r.GetBody()
		if err != nil {
			return "", err
		}
		defer body.Close()
		if _, err := io.Copy(hash, body); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// closeBody does for a request that is not sent what every RoundTripper must.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // of memory
	}
}

// lending is a body in memory that its owner wants back. Transports may read
// and close a body after they returned (see http.RoundTripper), as they do
// when an answer comes early, or not in time.
type lending struct {
	body    []byte
	readers sync.WaitGroup
}

// open gives a reader of the body; the lending lasts until it is closed.
func (l *lending) open() *lentBody {
	l.readers.Add(1)
	b := &lentBody{returned: l.readers.Done}
	b.Reset(l.body)
	return b
}

type lentBody struct {
	bytes.Reader
	once     sync.Once
	returned func()
	borrowed bool // the network has it, and will close it
}

// Close gives the body back.
func (b *lentBody) Close() error {
	b.once.Do(b.returned)
	return nil
}

// direct is a connection without TLS to which a lent body goes in one piece: it
// lies in memory as it is sent. Otherwise io.Copy takes it through a buffer of
// 32 KiB, and makes a system call for each.
type direct struct{ net.Conn }

// ReadFrom implements io.ReaderFrom, which net/http asks for.
func (c direct) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if body, ok := limited.R.(*lentBody); ok && int64(body.Len()) == limited.N {
			n, err := body.WriteTo(c.Conn)
			limited.N -= n
			return n, err
		}
	}
	return io.Copy(c.Conn, r)
}

// borrower notes that a body has reached the network, which closes it whatever
// happens. Layers above may fail before, or copy a body and forget it.
type borrower struct{ next http.RoundTripper }

// RoundTrip sends the request.
func (t borrower) RoundTrip(r *http.Request) (*http.Response, error) {
	if b, ok := r.Body.(*lentBody); ok {
		b.borrowed = true
	}
	return t.next.RoundTrip(r)
}
