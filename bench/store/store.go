// Package store is an S3 that keeps objects in memory and does little else, so
// that a benchmark of who writes or reads objects measures just that.
//
// Buckets are there as soon as they are named, and addressed by path. It knows
// PutObject and uploads in parts, both with If-None-Match: *, GetObject,
// HeadObject, ListObjectsV2 and DeleteObject; a bucket that is deleted goes
// with all that is in it. Nothing is checked: neither signatures nor checksums.
// Which objects were written and read, and when, it tells as JSON.
package store

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server keeps buckets. It is an http.Handler.
type Server struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	uploads map[string]*upload
	written int // objects and uploads, for ids
}

// New returns a server without any object.
func New() *Server {
	return &Server{buckets: map[string]*bucket{}, uploads: map[string]*upload{}}
}

type bucket struct {
	objects map[string]*object
	calls   []Call
}

type object struct {
	body     []byte
	headers  http.Header // as they were given: metadata, and the checksum
	etag     string
	modified time.Time
}

// upload is one in parts, until it is complete.
type upload struct {
	headers http.Header
	parts   map[int][]byte
}

// Call is what was done with an object.
type Call struct {
	At      time.Time `json:"at"` // when it was done, of a read: when it came
	Read    bool      `json:"read,omitempty"`
	Key     string    `json:"key"`
	Records int       `json:"records"` // by the object's own metadata, CountHeader
	Bytes   int       `json:"bytes"`
}

// CountHeader is the metadata that says how many records an object has.
const CountHeader = "X-Amz-Meta-Count"

func (s *Server) bucket(name string) *bucket {
	b := s.buckets[name]
	if b == nil {
		b = &bucket{objects: map[string]*object{}}
		s.buckets[name] = b
	}
	return b
}

func (b *bucket) note(key string, o *object, read bool) {
	records, _ := strconv.Atoi(o.headers.Get(CountHeader)) // those of others count nothing
	b.calls = append(b.calls, Call{At: time.Now(), Read: read, Key: key, Records: records, Bytes: len(o.body)})
}

// Calls returns what was done with the objects of a bucket, in order.
func (s *Server) Calls(name string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bucket(name).calls)
}

// put writes an object and returns its ETag; with onlyNew it does not where
// there is one already.
func (s *Server) put(name, key string, body []byte, headers http.Header, onlyNew bool) (etag string, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bucket(name)
	if onlyNew && b.objects[key] != nil {
		return "", false
	}
	// S3's own says nothing of the content either where it is encrypted or was
	// uploaded in parts.
	o := &object{body: body, headers: headers, etag: strconv.Quote(s.id()), modified: time.Now()}
	b.objects[key] = o
	b.note(key, o, false)
	return o.etag, true
}

// get finds an object, and notes it if its body is read.
func (s *Server) get(name, key string, read bool) *object {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bucket(name)
	o := b.objects[key]
	if o != nil && read {
		b.note(key, o, true)
	}
	return o
}

func (s *Server) remove(name, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == "" {
		delete(s.buckets, name)
		return
	}
	delete(s.bucket(name).objects, key)
}

// listed is one object of a list.
type listed struct {
	Key          string
	Size         int
	ETag         string
	LastModified time.Time
}

// list returns up to most objects whose keys begin with prefix and come after
// another one, and whether there are more.
func (s *Server) list(name, prefix, after string, most int) (found []listed, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := s.bucket(name).objects
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		if !strings.HasPrefix(key, prefix) || key <= after {
			continue
		}
		if len(found) == most {
			return found, true
		}
		o := objects[key]
		found = append(found, listed{key, len(o.body), o.etag, o.modified.UTC()})
	}
	return found, false
}

func (s *Server) id() string {
	s.written++
	return strconv.Itoa(s.written)
}

func (s *Server) begin(headers http.Header) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.id()
	s.uploads[id] = &upload{headers: headers, parts: map[int][]byte{}}
	return id
}

func (s *Server) putPart(id string, number int, body []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[id]
	if u != nil {
		u.parts[number] = body
	}
	return u != nil
}

// end takes an upload away, and returns it if there is one.
func (s *Server) end(id string) *upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[id]
	delete(s.uploads, id)
	return u
}

// whole is the body of an upload.
func (u *upload) whole() []byte {
	var body []byte
	for _, number := range slices.Sorted(maps.Keys(u.parts)) {
		body = append(body, u.parts[number]...)
	}
	return body
}
