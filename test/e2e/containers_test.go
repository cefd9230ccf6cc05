package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local/localtest"
	"millrace/internal/container"
	"millrace/internal/load"
	"millrace/internal/outcome"
	dlq "millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// putter puts records of a test's own forms into its stream.
type putter struct {
	*system
	streams *kinesis.Client
	made    int // documents
}

// documents makes so many.
func (p *putter) documents(count int) (made [][]byte) {
	for range count {
		made = append(made, p.document(fmt.Sprint("document-", p.made), `{"name":"one of many"}`))
		p.made++
	}
	return made
}

func (p *putter) document(id, body string) []byte {
	at := time.Now().UTC()
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: telemetry.IndexName("span", at), ReceivedAt: at, Tenant: p.tenant, Region: "eu-west-1", ID: id, Type: "span", Timestamp: at,
	}, []byte(body))
}

func (p *putter) put(data []byte) (sequence string) {
	p.t.Helper()
	put, err := p.streams.PutRecord(p.t.Context(), &kinesis.PutRecordInput{StreamName: &p.resources.Stream, Data: data, PartitionKey: aws.String("same")})
	p.must(err)
	return *put.SequenceNumber
}

// putAll puts containers of each form among singles, and returns how many documents are in each container.
func (p *putter) putAll(rounds int) (containers map[string]int) {
	containers = map[string]int{}
	for range rounds {
		containers[p.put(container.AppendPack(nil, p.documents(20)))] = 20
		p.put(p.documents(1)[0])
		kpl := container.AppendKPL(nil, p.documents(5), slices.Repeat([]string{"a key"}, 5), "17")
		containers[p.put(kpl)] = 5
		p.put(container.AppendPack(nil, nil)) // which holds nothing
	}
	return containers
}

// TestContainersAreIndexed: documents are indexed, and backed up, once each, with their positions, though a chunk may end and
// a worker be killed between those of one container; a damaged one is a dead letter, and its neighbors are indexed.
func TestContainersAreIndexed(t *testing.T) {
	t.Parallel()
	s := start(t, func(at *servers) { at.shards = 1 }, "MILLRACE_BULK_RECORDS=7")
	s.must(s.StartBackup(t.Context()))
	s.leaveLetters()
	p := &putter{system: s, streams: kinesis.NewFromConfig(localtest.AWS(t))}
	containers := p.putAll(20)
	s.worker.Kill()
	for sequence, documents := range p.putAll(20) {
		containers[sequence] = documents
	}
	damaged := container.AppendPack(nil, [][]byte{[]byte("lost")})
	damaged[len(damaged)-1] ^= 1
	containers[p.put(damaged)] = 0
	foreign := append(p.documents(2), []byte(`{"of":"another producer"}`))
	containers[p.put(container.AppendKPL(nil, foreign, make([]string, len(foreign)), "17"))] = len(foreign)
	const refused = "document_parsing_exception"
	neighbors := p.documents(2)
	bad := p.put(container.AppendPack(nil, [][]byte{neighbors[0], p.document("bad", `{"duration":"`+load.BadDuration+`"}`), neighbors[1]}))
	containers[bad] = 3
	p.put(container.AppendPack(nil, nil))
	s.must(s.worker.Restart(t.Context()))

	s.awaitDocuments(p.made)
	want := map[string]int{outcome.TypeDamagedContainer: 1, outcome.TypeForeign: 1, refused: 1}
	s.await(func() error {
		out, err := s.Starter(t.Context(), "dlq", "list", "--json")
		s.must(err)
		var groups []struct {
			Error   string
			Records int
		}
		s.must(json.Unmarshal([]byte(out), &groups))
		got := map[string]int{}
		for _, g := range groups {
			got[g.Error] += g.Records
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("the ledger has %v, want %v", got, want)
		}
		return nil
	})
	p.awaitPlaces(containers)
	p.awaitLetter(bad, telemetry.Position(bad, 2))
	s.await(func() error { // nothing is behind that
		out, err := s.Starter(t.Context(), "shards", "--json")
		s.must(err)
		var shards []struct{ Checkpoint telemetry.Checkpoint }
		s.must(json.Unmarshal([]byte(out), &shards))
		if len(shards) != 1 || shards[0].Checkpoint.Sequence != bad {
			return fmt.Errorf("the checkpoints are %+v, want %s", shards, bad)
		}
		return nil
	})
}

// awaitPlaces waits until each document is in the backup, at its place.
func (p *putter) awaitPlaces(containers map[string]int) {
	p.t.Helper()
	const bad = 3 // one is foreign, one damaged, and one refused
	p.await(func() error {
		lines := p.inBackup()
		if len(lines) < p.made+bad {
			return fmt.Errorf("the backup has %d lines, want %d", len(lines), p.made+bad)
		}
		there := map[string]bool{}
		for _, l := range lines {
			there[l.Sequence] = true
		}
		for sequence, documents := range containers {
			if documents == 0 && !there[sequence] {
				p.t.Errorf("the damaged %s is not in the backup", sequence)
			}
			for place := range documents {
				if position := telemetry.Position(sequence, place+1); !there[position] {
					p.t.Errorf("%s is not in the backup", position)
				}
			}
		}
		return nil
	})
}

// awaitLetter waits for the dead letter of a document in a container: Lambda's fields point at the container, ours at it.
func (p *putter) awaitLetter(sequence, position string) {
	p.t.Helper()
	queues := sqs.NewFromConfig(localtest.AWS(p.t))
	queue, err := queues.GetQueueUrl(p.t.Context(), &sqs.GetQueueUrlInput{QueueName: &p.resources.DeadLetters})
	p.must(err)
	p.await(func() error {
		received, err := queues.ReceiveMessage(p.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10})
		p.must(err)
		for _, message := range received.Messages {
			letter, err := dlq.ParseDeadLetter([]byte(*message.Body))
			p.must(err)
			if letter.Millrace.First == position && letter.Millrace.Last == position && letter.Batch.First == sequence && letter.Batch.Last == sequence && letter.Batch.Size == 1 {
				return nil
			}
		}
		return fmt.Errorf("no letter is about %s", position)
	})
}

// TestPipelineWritesContainers: what agents post is put in containers once an operator has set the form, and nothing is lost,
// though workers are killed; back to singles, the command says when no container is ahead of a reader.
func TestPipelineWritesContainers(t *testing.T) {
	t.Parallel()
	for _, form := range []container.Form{container.Pack, container.KPL} {
		t.Run(form.String(), func(t *testing.T) {
			t.Parallel()
			s := start(t, func(at *servers) { at.direct = form == container.KPL })
			s.must(s.StartBackup(t.Context()))
			_, err := s.Starter(t.Context(), "format", form.String())
			s.must(err)
			sender := s.sender(3000, 300)
			var group errgroup.Group
			group.Go(func() error { return sender.Run(t.Context()) })
			for range 3 {
				at := sender.Accepted.Len()
				s.must(until(t.Context(), func() bool { return sender.Accepted.Len() >= at+600 }))
				s.worker.Kill()
				s.must(s.worker.Restart(t.Context()))
			}
			s.must(group.Wait())
			s.awaitAll(sender)
			if s.written(form) == 0 {
				t.Errorf("no record of the stream is a %s", form)
			}
			s.awaitSingles()
		})
	}
}

// written counts the records of a form in the stream.
func (s *system) written(form container.Form) (records int) {
	s.t.Helper()
	opened, err := stream.Open(s.t.Context(), kinesis.NewFromConfig(localtest.AWS(s.t)), s.resources.Stream, stream.Settings{})
	s.must(err)
	s.eachInStream(opened, func(_ string, r stream.Record) {
		if container.FormOf(r.Data) == form {
			records++
		}
	})
	return records
}

// awaitSingles goes back to singles, and waits until the command says that workers of earlier versions may be started.
func (s *system) awaitSingles() {
	s.t.Helper()
	out, err := s.Starter(s.t.Context(), "format", "single")
	s.must(err)
	if !strings.Contains(out, "is read up to") {
		s.t.Errorf("at once it says %s", out)
	}
	s.await(func() error {
		out, err := s.Starter(s.t.Context(), "format")
		if err == nil && !strings.Contains(out, "no reader has a container ahead of it") {
			err = errors.New(out)
		}
		return err
	})
}
