package stream

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/internal/container"
)

// FormTag is the tag of a stream that says in which form records are put into it, and since when: container.Form's name, an
// @, and seconds since 1970. Without it, each document is a record of its own, as those need it that know no containers.
const FormTag = "millrace-form"

// FormAge is how long a writer trusts the form that it knows: AWS allows five ListTagsForStream calls a second to all of an
// account (API reference of ListTagsForStream).
const FormAge = time.Minute

// formTrust is how long a writer goes on by the form that it knows before it waits to learn of another: one that had nothing
// to put may have missed several.
const formTrust = 2 * FormAge

// Form says in which form records are put into a stream.
type Form struct {
	container.Form
	Since time.Time // when that was set; zero: it never was
}

// Form reads the form of the stream. The error wraps the service's.
func (s *Stream) Form(ctx context.Context) (Form, error) {
	ctx, cancel := s.awaiting(ctx)
	defer cancel()
	input := &kinesis.ListTagsForStreamInput{StreamName: &s.name}
	for {
		out, err := s.client.ListTagsForStream(ctx, input)
		if err != nil {
			return Form{}, fmt.Errorf("list the tags of stream %s: %w", s.name, err)
		}
		for _, tag := range out.Tags {
			if aws.ToString(tag.Key) != FormTag {
				continue
			}
			form, err := parseForm(aws.ToString(tag.Value))
			if err != nil {
				return Form{}, fmt.Errorf("read the tag %s of stream %s: %w", FormTag, s.name, err)
			}
			return form, nil
		}
		if !aws.ToBool(out.HasMoreTags) || len(out.Tags) == 0 {
			return Form{}, nil
		}
		input.ExclusiveStartTagKey = out.Tags[len(out.Tags)-1].Key
	}
}

func parseForm(text string) (f Form, err error) {
	name, since, _ := strings.Cut(text, "@")
	if f.Form, err = container.ParseForm(name); err != nil {
		return Form{}, err //nolint:wrapcheck // the caller does
	}
	seconds, err := strconv.ParseInt(since, 10, 64)
	if err != nil {
		return Form{}, fmt.Errorf("%q does not say since when", text)
	}
	f.Since = time.Unix(seconds, 0).UTC()
	return f, nil
}

// SetForm sets the form in which writers put records. They learn of it within FormAge.
func (s *Stream) SetForm(ctx context.Context, form container.Form) (Form, error) {
	ctx, cancel := s.awaiting(ctx)
	defer cancel()
	set := Form{form, time.Now().UTC().Truncate(time.Second)}
	value := form.String() + "@" + strconv.FormatInt(set.Since.Unix(), 10)
	if _, err := s.client.AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamName: &s.name, Tags: map[string]string{FormTag: value}}); err != nil {
		return Form{}, fmt.Errorf("tag stream %s: %w", s.name, err)
	}
	return set, nil
}

// written holds the form that a writer has read last. A writer that has read none puts singles, which every version can read.
type written struct {
	survey
	form container.Form // guarded by survey
}

// currentForm is the form to put records in.
func (s *Stream) currentForm(ctx context.Context) container.Form {
	w := &s.written
	w.take(ctx, FormAge, formTrust, func(ctx context.Context) error {
		form, err := s.Form(ctx)
		if err != nil {
			slog.Warn("could not read in which form to put records, going on as before", "stream", s.name, "error", err)
			return err
		}
		w.Lock()
		defer w.Unlock()
		w.form = form.Form
		return nil
	})
	w.Lock()
	defer w.Unlock()
	return w.form
}
