package index

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace/internal/outcome"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

const (
	testRegion = "eu-west-1"
	testKey    = "AKIDEXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	testToken  = "session/token=="
)

func signed(s *Settings) {
	s.SigV4 = true
	s.AWS = aws.Config{Region: testRegion, Credentials: credentials.NewStaticCredentialsProvider(testKey, testSecret, testToken)}
}

// verifier checks signatures as the service does, without the SDK's code (IAM
// user guide, 'Create a signed AWS API request').
type verifier struct {
	next http.Handler
	seen chan error
}

func (v verifier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = verify(r, body)
	}
	v.seen <- err
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	v.next.ServeHTTP(w, r)
}

func verify(r *http.Request, body []byte) error {
	authorization, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return fmt.Errorf("not signed: %q", r.Header.Get("Authorization"))
	}
	fields := map[string]string{}
	for _, field := range strings.Split(authorization, ", ") {
		key, value, _ := strings.Cut(field, "=")
		fields[key] = value
	}
	date := r.Header.Get("X-Amz-Date")
	scope := date[:8] + "/" + testRegion + "/es/aws4_request"
	if fields["Credential"] != testKey+"/"+scope {
		return fmt.Errorf("credential %q, want scope %s", fields["Credential"], scope)
	}
	headers := strings.Split(fields["SignedHeaders"], ";")
	for _, needed := range []string{"host", "x-amz-date", "x-amz-security-token"} {
		if !slices.Contains(headers, needed) {
			return fmt.Errorf("%s is not signed: %v", needed, headers)
		}
	}
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + canonicalQuery(r.URL.Query()) + "\n"
	for _, h := range headers {
		value := strings.Join(r.Header.Values(h), ",")
		switch h {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		canonical += h + ":" + strings.TrimSpace(value) + "\n"
	}
	hash := sha256.Sum256(body)
	canonical += "\n" + fields["SignedHeaders"] + "\n" + hex.EncodeToString(hash[:])
	hash = sha256.Sum256([]byte(canonical))
	toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex.EncodeToString(hash[:])
	key := []byte("AWS4" + testSecret)
	for _, part := range []string{date[:8], testRegion, "es", "aws4_request", toSign} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if want := hex.EncodeToString(key); fields["Signature"] != want {
		return fmt.Errorf("signature %s, want %s over\n%s", fields["Signature"], want, canonical)
	}
	return nil
}

func canonicalQuery(query url.Values) string {
	return strings.ReplaceAll(query.Encode(), "+", "%20")
}

func TestRequestsAreSignedForAmazon(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Settings){
		"plain": func(*Settings) {},
		"gzip":  func(s *Settings) { s.Gzip = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{docs: map[string]string{}}
			v := verifier{next: f, seen: make(chan error, 2)}
			c := clientOf(t, v, signed, change, func(s *Settings) { s.Flavor = OpenSearch })
			r := c.Do(t.Context(), someBulk(t, 3))
			if err := <-v.seen; err != nil || r.Class != outcome.Indexed || len(f.docs) != 3 {
				t.Errorf("%+v: %v", r, err)
			}
			_ = c.Ready(t.Context()) // a request without a body, of which the fake knows nothing
			if err := <-v.seen; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestABodyThatCannotBeSignedIsGivenBack(t *testing.T) {
	t.Parallel()
	expired := func(s *Settings) {
		s.AWS.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("expired")
		})
	}
	f := &fake{}
	r := f.open(t, signed, expired).Do(t.Context(), someBulk(t, 1)) // hangs, if it is not
	if r.Class != outcome.Transient || !strings.Contains(r.Error.Reason, "expired") || f.requests != 0 {
		t.Errorf("%+v after %d requests", r, f.requests)
	}
	var s Settings
	signed(&s)
	expired(&s)
	lent := &lending{body: []byte("body")}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_bulk", lent.open())
	request.GetBody = func() (io.ReadCloser, error) { return lent.open(), nil }
	if response, err := newSigner(s.AWS, &http.Transport{}).RoundTrip(request); err == nil {
		response.Body.Close()
		t.Error("sent without a signature")
	}
	lent.readers.Wait() // hangs, if a reader is left
}

func TestOneAuthorityIsTrustedAndNoOther(t *testing.T) {
	t.Parallel()
	f := &fake{docs: map[string]string{}}
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would log the client that does not trust it
	s.StartTLS()
	t.Cleanup(s.Close)
	for _, c := range []struct {
		file  string
		class outcome.Class
	}{
		{authority(t, s.Certificate().Raw), outcome.Indexed},
		{authority(t, selfSigned(t)), outcome.Transient},
		{"", outcome.Transient},
	} {
		client, err := Open(Settings{URLs: []string{s.URL}, CAFile: c.file})
		if err != nil {
			t.Fatal(err)
		}
		if r := client.Do(t.Context(), someBulk(t, 1)); r.Class != c.class {
			t.Errorf("with authority %q: %+v", c.file, r)
		}
	}
	if len(f.docs) != 1 {
		t.Errorf("%d documents", len(f.docs))
	}
}

func authority(t *testing.T, certificate []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestCredentialsAreSent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*Settings)
		want   string
	}{
		{func(s *Settings) { s.APIKey = "a2V5" }, "ApiKey a2V5"},
		{func(s *Settings) { s.Username, s.Password = "me", "secret" }, "Basic bWU6c2VjcmV0"},
	} {
		var got string
		f := &fake{docs: map[string]string{}}
		client := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.Header.Get("Authorization")
			f.ServeHTTP(w, r)
		}), c.change)
		if r := client.Do(t.Context(), someBulk(t, 1)); r.Class != outcome.Indexed || !strings.EqualFold(got, c.want) {
			t.Errorf("%q, want %q: %+v", got, c.want, r)
		}
	}
}
