package awshttp

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// last is a client that keeps the request it was given.
type last struct{ request *http.Request }

var errKept = errors.New("kept")

func (l *last) Do(r *http.Request) (*http.Response, error) {
	l.request = r
	return nil, errKept
}

func send(t *testing.T, to *last, r *http.Request) {
	t.Helper()
	response, err := Wrap(to).Do(r)
	if !errors.Is(err, errKept) {
		_ = response.Body.Close()
		t.Fatal(err)
	}
}

// TestBodyEndsWhenClosed does what net/http does with a body whose
// request was answered meanwhile.
func TestBodyEndsWhenClosed(t *testing.T) {
	t.Parallel()
	request := smithyhttp.NewStackRequest().(*smithyhttp.Request)
	request, err := request.SetStream(strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	kept := &last{}
	send(t, kept, request.Build(t.Context()))
	body := kept.request.Body
	first, err := io.ReadAll(io.LimitReader(body, 4))
	if err != nil || string(first) != "body" {
		t.Errorf("the body is %q, %v", first, err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if n, err := io.Copy(io.Discard, body); n != 0 || err != nil {
		t.Errorf("behind its end are %d bytes, error %v", n, err)
	}
}

func TestMissingBodyStaysMissing(t *testing.T) {
	t.Parallel()
	kept := &last{}
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		send(t, kept, &http.Request{Body: body})
		if kept.request.Body != body {
			t.Errorf("%v became %v", body, kept.request.Body)
		}
	}
}
