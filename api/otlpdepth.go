package api

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxMessageDepth is how deep OpenTelemetry's messages may be nested as they
// are encoded: a value costs up to four levels (an object, its list, an entry,
// the entry's value). pdata decodes by recursion, and a stack that outgrows its
// limit ends the process, so this is looked at before. What is nested less is
// judged by the depth of the record that it becomes.
const maxMessageDepth = 4*maxDepth + 32

// message returns which message a field of a protobuf message holds, nil for a
// field in which nothing can be nested.
type message func(field protowire.Number) message

// fields makes a message of fields and what they are.
func fields(of map[protowire.Number]message) message {
	return func(field protowire.Number) message { return of[field] }
}

// What opentelemetry-proto nests in a record and around it: trace/v1, logs/v1,
// metrics/v1, resource/v1, common/v1.
var (
	resourceMessage = attributesOf(1)
	scopeMessage    = attributesOf(3)

	spanMessage = fields(map[protowire.Number]message{
		9:  keyValue,        // attributes
		11: attributesOf(3), // events
		13: attributesOf(4), // links
	})

	logMessage = fields(map[protowire.Number]message{5: anyValue, 6: keyValue}) // body, attributes

	metricMessage = attributesOf(12) // metadata, beside the data points
)

// attributesOf is a message in which nothing nests but attributes.
func attributesOf(field protowire.Number) message {
	return fields(map[protowire.Number]message{field: keyValue})
}

// pointMessage is a data point, with the fields that nest.
func pointMessage(attributes, exemplars protowire.Number) message {
	of := map[protowire.Number]message{attributes: keyValue}
	if exemplars != 0 {
		of[exemplars] = attributesOf(7)
	}
	return fields(of)
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

// weigh walks a message, whose fields are only skipped, down to a depth, and
// counts the messages in it: each takes memory when it is decoded, though an
// empty one has two bytes here.
func weigh(data []byte, m message, depth int) (values int, err error) {
	if depth == 0 {
		return 0, fmt.Errorf("nested more than %d deep", maxMessageDepth)
	}
	c := cursor{rest: data}
	for {
		field, kind, ok := c.any()
		if !ok {
			return values, c.err
		}
		inner := m(field)
		if inner == nil || kind != protowire.BytesType {
			continue // of another kind the decoder takes none
		}
		within, err := weigh(c.message, inner, depth-1)
		if err != nil {
			return 0, err
		}
		values += 1 + within
	}
}
