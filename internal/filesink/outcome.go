package filesink

import (
	"context"
	"errors"
	"syscall"

	"millrace/internal/outcome"
)

// Types of errors.
const (
	invalidIndexName = "invalid_index_name"
	nameTooLong      = "name_too_long"
	notJSON          = "not_json"
	malformedBulk    = "malformed_bulk"

	noSpace          = "no_space"
	quotaExceeded    = "quota_exceeded"
	fileTooLarge     = "file_too_large"
	readOnly         = "read_only"
	permissionDenied = "permission_denied"
	notFound         = "not_found"
	notADirectory    = "not_a_directory"
	fileRemoved      = "file_removed"
	ioError          = "io_error"
	staleHandle      = "stale_handle"
	tooManyOpenFiles = "too_many_open_files"
	outOfMemory      = "out_of_memory"
	closed           = "closed"
	canceled         = "canceled" // by the caller
	otherFailure     = "other_failure"
)

// outcomes is the outcome table, by the type of an error.
//
// A file system knows nothing of what a document says. So a document is to blame only
// for a name that no directory can have and for a line that is no JSON, and a shard
// waits for everything else: an error that this table does not know (other_failure) is
// of the disk as well, and undecided it would cost each record its attempts.
var outcomes = map[string]outcome.Class{
	// The document itself is to blame.
	invalidIndexName: outcome.Poison,
	nameTooLong:      outcome.Poison, // some file systems take less than 255 bytes
	notJSON:          outcome.Poison, // a reader would stumble over the line

	// The lines of the bulk are not two for each document, so none can be named.
	malformedBulk: outcome.Refused,

	// An operator has to act.
	noSpace:          outcome.Transient,
	quotaExceeded:    outcome.Transient,
	fileTooLarge:     outcome.Transient, // beyond ulimit -f, or what the file system takes
	readOnly:         outcome.Transient,
	permissionDenied: outcome.Transient,
	notFound:         outcome.Transient, // the directory of the sink was removed
	notADirectory:    outcome.Transient, // a file has the name of the index

	// The next attempt may succeed.
	fileRemoved:      outcome.Transient, // while it was written to
	ioError:          outcome.Transient,
	staleHandle:      outcome.Transient, // NFS
	tooManyOpenFiles: outcome.Transient,
	outOfMemory:      outcome.Transient,
	closed:           outcome.Transient,
	canceled:         outcome.Transient,
	otherFailure:     outcome.Transient,
}

// overload has the types for which fewer requests at once would help. They would not
// against a full disk: each record waits for that anyway.
var overload = map[string]bool{tooManyOpenFiles: true, outOfMemory: true}

// indexAlone has the types that say nothing of other indices. Records for such an
// index can be parked.
var indexAlone = map[string]bool{notADirectory: true}

// types are those of the system's errors.
var types = map[syscall.Errno]string{
	syscall.ENAMETOOLONG: nameTooLong,
	syscall.ENOSPC:       noSpace,
	syscall.EDQUOT:       quotaExceeded,
	syscall.EFBIG:        fileTooLarge,
	syscall.EROFS:        readOnly,
	syscall.EACCES:       permissionDenied,
	syscall.EPERM:        permissionDenied,
	syscall.ENOENT:       notFound,
	syscall.ENOTDIR:      notADirectory,
	syscall.EIO:          ioError,
	syscall.ESTALE:       staleHandle,
	syscall.EMFILE:       tooManyOpenFiles,
	syscall.ENFILE:       tooManyOpenFiles,
	syscall.ENOMEM:       outOfMemory,
}

var (
	errRemoved = errors.New("the file was removed or renamed while it was written to")
	errClosed  = errors.New("the sink is closed")
)

// failure gives an error its type.
func failure(err error) outcome.Error {
	e := outcome.Error{Type: otherFailure, Reason: err.Error()}
	var number syscall.Errno
	switch {
	case errors.Is(err, errRemoved):
		e.Type = fileRemoved
	case errors.Is(err, errClosed):
		e.Type = closed
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Type = canceled
	case errors.As(err, &number) && types[number] != "":
		e.Type = types[number]
	}
	return e
}
