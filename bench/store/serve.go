package store

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	// CallsPath is where GET answers the Calls of the bucket named by its query
	// parameter bucket, as JSON. No bucket can have that name.
	CallsPath = "/-/calls"

	mostListed = 1000 // objects of a page (ListObjectsV2, API reference)
)

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == CallsPath {
		_ = json.NewEncoder(w).Encode(s.Calls(r.URL.Query().Get("bucket"))) // An error means that the caller has gone.
		return
	}
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	id := query.Get("uploadId")
	switch {
	case strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked"):
		refuse(w, http.StatusNotImplemented, "NotImplemented")
	case r.Method == http.MethodPost && query.Has("uploads"):
		answer(w, struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadId string
		}{UploadId: s.begin(kept(r.Header))})
	case r.Method == http.MethodPost && id != "":
		s.complete(w, r, name, key, id)
	case r.Method == http.MethodDelete && id != "":
		s.end(id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete:
		s.remove(name, key)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		s.write(w, r, name, key)
	case key == "": // of a bucket there is only the list
		s.answerList(w, name, query.Get("prefix"), query.Get("continuation-token"), query.Get("max-keys"))
	default:
		s.read(w, r, name, key)
	}
}

// kept are the headers that are given back with an object.
func kept(given http.Header) http.Header {
	headers := http.Header{}
	for name, values := range given {
		if strings.HasPrefix(name, "X-Amz-Meta-") || name == "X-Amz-Checksum-Crc32" {
			headers[name] = values
		}
	}
	return headers
}

// write takes an object, or a part of one.
func (s *Server) write(w http.ResponseWriter, r *http.Request, name, key string) {
	body := make([]byte, max(r.ContentLength, 0))
	if _, err := io.ReadFull(r.Body, body); err != nil || r.ContentLength < 0 {
		refuse(w, http.StatusLengthRequired, "MissingContentLength")
		return
	}
	if id := r.URL.Query().Get("uploadId"); id != "" {
		number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
		if err != nil || !s.putPart(id, number, body) {
			refuse(w, http.StatusNotFound, "NoSuchUpload")
			return
		}
		w.Header().Set("ETag", strconv.Quote(id+"-"+strconv.Itoa(number)))
		return
	}
	if key == "" {
		return // A bucket is there already.
	}
	etag, done := s.put(name, key, body, kept(r.Header), r.Header.Get("If-None-Match") == "*")
	if !done {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.Header().Set("ETag", etag)
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request, name, key, id string) {
	u := s.end(id)
	if u == nil {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	etag, done := s.put(name, key, u.whole(), u.headers, r.Header.Get("If-None-Match") == "*")
	if !done {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	answer(w, struct {
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
		ETag    string
	}{ETag: etag})
}

func (s *Server) read(w http.ResponseWriter, r *http.Request, name, key string) {
	o := s.get(name, key, r.Method == http.MethodGet)
	if o == nil {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	for header, values := range o.headers {
		w.Header()[header] = values
	}
	w.Header().Set("ETag", o.etag)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", o.modified, bytes.NewReader(o.body))
}

func (s *Server) answerList(w http.ResponseWriter, name, prefix, after, most string) {
	limit, err := strconv.Atoi(most)
	if err != nil || limit > mostListed {
		limit = mostListed
	}
	found, more := s.list(name, prefix, after, limit)
	list := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Name, Prefix          string
		KeyCount              int
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []listed
	}{Name: name, Prefix: prefix, KeyCount: len(found), IsTruncated: more, Contents: found}
	if more {
		list.NextContinuationToken = found[len(found)-1].Key
	}
	answer(w, list)
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/xml")
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(value) // An error means that the caller has gone.
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}{Code: code})
}
