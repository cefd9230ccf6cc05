package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"millrace/deploy/local"
)

// busyShare is how much of what it has something uses that limits the rest.
const busyShare = 0.85

// machine is what all processors have done since the start, in ticks.
type machine struct{ busy, idle float64 }

// readMachine reads /proc/stat.
func readMachine() (machine, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machine{}, fmt.Errorf("read what the processors do: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	var m machine
	for i, field := range strings.Fields(string(line))[1:] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return m, fmt.Errorf("read what the processors do: %w", err)
		}
		switch i {
		case 3, 4: // idle, and waiting for a disk
			m.idle += ticks
		case 8, 9: // of guests, which are counted as user time too
		default:
			m.busy += ticks
		}
	}
	return m, nil
}

// busySince returns which share of all processors was used since earlier.
func (m machine) busySince(earlier machine) float64 {
	busy, idle := m.busy-earlier.busy, m.idle-earlier.idle
	return busy / max(busy+idle, 1)
}

// limit says what kept a rate from being higher, and how that is known.
func limit(used times, took time.Duration, busy float64) string {
	emulator := used[local.AWS].Seconds() / took.Seconds()
	switch {
	case emulator > busyShare:
		return fmt.Sprintf("limited by the emulator, which uses %.0f %% of the one processor that it can: see also ingest_sink_records_s", 100*emulator)
	case busy > busyShare:
		return fmt.Sprintf("limited by this machine, whose processors are %.0f %% busy, and not by the emulator, which uses %.0f %% of one", 100*busy, 100*emulator)
	}
	return fmt.Sprintf("limited by waiting: the processors are %.0f %% busy, the emulator uses %.0f %% of one", 100*busy, 100*emulator)
}
