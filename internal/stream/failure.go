package stream

import (
	"context"
	"errors"
	"net/http"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Error codes of the Kinesis API (API references of PutRecords, GetRecords,
// GetShardIterator and 'Common errors').
const (
	codeExpired    = "ExpiredIteratorException"
	codeArgument   = "InvalidArgumentException"
	codeNotFound   = "ResourceNotFoundException"
	codeInUse      = "ResourceInUseException"
	codeThroughput = "ProvisionedThroughputExceededException"
)

// invalidCodes are refusals for what a request says. Emulators and proxies use
// other names than Kinesis.
var invalidCodes = map[string]bool{
	codeArgument: true, "ValidationException": true, "ValidationError": true,
	"SerializationException": true, "InvalidParameterValue": true,
}

// laterCodes are 4xx answers that pass with time.
var laterCodes = map[string]bool{
	codeThroughput: true, "LimitExceededException": true, "KMSThrottlingException": true, "Throttling": true,
	"ThrottlingException": true, "RequestLimitExceeded": true, "TooManyRequestsException": true, codeInUse: true,
}

// code returns the error code of the service, or "" where it did not answer.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// status returns the HTTP status of the answer, or 0.
func status(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// passes reports whether an error may go away by waiting: throttling, the
// server's own failures, connections, answers cut off. What the service
// refuses by intent (no such shard, no permission) does not.
func passes(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	if at := status(err); at >= http.StatusBadRequest && at < http.StatusInternalServerError {
		return at == http.StatusTooManyRequests || at == http.StatusRequestTimeout || laterCodes[code(err)]
	}
	return true
}

// message says what an error is without what the SDK puts around it.
func message(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorMessage() != "" {
		return api.ErrorMessage()
	}
	return err.Error()
}
