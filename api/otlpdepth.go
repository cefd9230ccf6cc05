package api

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxMessageDepth is how deep an OpenTelemetry request may be nested as it is
// encoded: its values cost up to four levels each (an object, its list, an
// entry, the entry's value). pdata decodes by recursion, and a stack that
// outgrows its limit ends the process, so this is looked at before. What is
// nested less is judged record by record.
const maxMessageDepth = 4*maxDepth + 32

// message tells of a field of a protobuf message which message it is, nil for
// everything in which nothing can be nested.
type message func(field protowire.Number) message

// fields makes a message of fields and what they are.
func fields(of map[protowire.Number]message) message {
	return func(field protowire.Number) message { return of[field] }
}

// What opentelemetry-proto nests: trace/v1, logs/v1, metrics/v1.
var (
	traceMessage = requestOf(fields(map[protowire.Number]message{
		9:  keyValue,                                          // attributes
		11: fields(map[protowire.Number]message{3: keyValue}), // events
		13: fields(map[protowire.Number]message{4: keyValue}), // links
	}))

	logMessage = requestOf(fields(map[protowire.Number]message{5: anyValue, 6: keyValue})) // body, attributes

	metricMessage = requestOf(fields(map[protowire.Number]message{
		5:  pointsOf(7, 5),  // gauge
		7:  pointsOf(7, 5),  // sum
		9:  pointsOf(9, 8),  // histogram
		10: pointsOf(1, 11), // exponential histogram
		11: pointsOf(7, 0),  // summary
		12: keyValue,        // metadata
	}))
)

// requestOf is a message whose resources have scopes that have records.
func requestOf(record message) message {
	resource := fields(map[protowire.Number]message{1: keyValue})
	scope := fields(map[protowire.Number]message{3: keyValue})
	scopes := fields(map[protowire.Number]message{1: scope, 2: record})
	// 1000 is where scopes once were.
	return fields(map[protowire.Number]message{1: fields(map[protowire.Number]message{1: resource, 2: scopes, 1000: scopes})})
}

// pointsOf is a metric's data, with the fields of a data point that nest.
func pointsOf(attributes, exemplars protowire.Number) message {
	point := fields(map[protowire.Number]message{
		exemplars:  fields(map[protowire.Number]message{7: keyValue}),
		attributes: keyValue,
	})
	return fields(map[protowire.Number]message{1: point})
}

// Values nest.
func keyValue(field protowire.Number) message {
	if field == 2 {
		return anyValue
	}
	return nil
}

func anyValue(field protowire.Number) message {
	switch field {
	case 5:
		return arrayValue
	case 6:
		return keyValueList
	}
	return nil
}

func arrayValue(field protowire.Number) message {
	if field == 1 {
		return anyValue
	}
	return nil
}

func keyValueList(field protowire.Number) message {
	if field == 1 {
		return keyValue
	}
	return nil
}

var errProtobuf = errors.New("not a protobuf message")

// checkDepth walks a message, whose fields are only skipped, down to a depth.
func checkDepth(data []byte, m message, depth int) error {
	if depth == 0 {
		return fmt.Errorf("nested more than %d deep", maxMessageDepth)
	}
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errProtobuf
		}
		data = data[n:]
		// The fields of a group, which nobody sends, are looked at as if they
		// were the message's own: that finds no less.
		if kind == protowire.StartGroupType || kind == protowire.EndGroupType {
			continue
		}
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, kind, data); n < 0 {
				return errProtobuf
			}
			data = data[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return errProtobuf
		}
		data = data[n:]
		if inner := m(field); inner != nil {
			if err := checkDepth(value, inner, depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}
