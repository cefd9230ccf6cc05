package main

import (
	"strings"
	"testing"
	"time"
)

const events = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"chatter\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"==================\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"WARNING: DATA RACE\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"  a.go:9\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"==================\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood","Elapsed":20.4}
{"Action":"run","Package":"m/a","Test":"TestBad"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"    a_test.go:7: got 1, want 2\n"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"        and more\n"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"        time=2026-11-30T08:51:41.874Z level=INFO msg=stopped\n"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"    a.go:8: a helper says so\n"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"time=now level=INFO\n"}
{"Action":"fail","Package":"m/a","Test":"TestBad","Elapsed":65}
{"Action":"run","Package":"m/a","Test":"TestDying"}
{"Action":"output","Package":"m/a","Test":"TestDying","Output":"panic: why\n"}
{"Action":"output","Package":"m/a","Output":"FAIL\tm/a\t0.1s\n"}
{"Action":"fail","Package":"m/a"}
{"Action":"start","Package":"m/b"}
{"Action":"output","Package":"m/b","Output":"PASS\n"}
{"Action":"output","Package":"m/b","Output":"ok  \tm/b\t0.2s\n"}
{"Action":"pass","Package":"m/b"}
{"ImportPath":"m/c","Action":"build-output","Output":"c.go:1: undefined: x\n"}
{"Action":"start","Package":"m/c"}
{"Action":"output","Package":"m/c","Output":"FAIL\tm/c [build failed]\n"}
{"Action":"fail","Package":"m/c","FailedBuild":"m/c"}
a line that is no event
`

func TestSummaryShowsFailures(t *testing.T) {
	var out strings.Builder
	begin := time.Now()
	s := newSummary(&out, begin)
	if err := s.follow(strings.NewReader(events), nil); err != nil {
		t.Fatal(err)
	}
	s.close(begin.Add(1500 * time.Millisecond))
	const want = `WARNING: DATA RACE
  a.go:9
==================
    a_test.go:7: got 1, want 2
        and more
        time=2026-11-30T08:51:41.874Z level=INFO msg=stopped
    a.go:8: a helper says so
time=now level=INFO
TestDying was running, and has said:
panic: why

FAIL	m/a	0.1s
ok  	m/b	0.2s
c.go:1: undefined: x
FAIL	m/c [build failed]
a line that is no event
slow: 65 s m/a TestBad
slow: 20 s m/a TestGood
FAILED m/a TestBad
    a_test.go:7: got 1, want 2
        and more
    a.go:8: a helper says so
FAILED m/a TestDying
FAILED m/c 
DONE 4 tests, 3 failures in 1.5s
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// Who reads the end of a log must learn which tests hang, and where.
func TestSummaryNamesStuckTests(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	begin := time.Now()
	s := newSummary(&out, begin)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	for _, e := range []event{
		{Action: "start", Package: "m/a"},
		{Action: "run", Package: "m/a", Test: "TestHanging", Time: at(0)},
		{Action: "run", Package: "m/a", Test: "TestWaiting", Time: at(0)},
		{Action: "pause", Package: "m/a", Test: "TestWaiting"},
		{Action: "output", Package: "m/a", Test: "TestHanging", Output: "chatter\n"},
		{Action: "run", Package: "m/b", Test: "TestOther", Time: at(0)},
		{Action: "output", Package: "m/a", Test: "TestHanging", Output: stuck + "for 10m0s\n", Time: at(600)},
		{Action: "output", Package: "m/a", Test: "TestHanging", Output: "goroutine 1 [running]:\n"},
		{Action: "output", Package: "m/a", Output: "FAIL\tm/a\t600s\n"},
		{Action: "fail", Package: "m/a"},
	} {
		s.handle(e)
	}
	s.close(at(601))
	const want = `m/a gotest: no progress for 10m0s
Running were m/a TestHanging (600 s). All goroutines:
goroutine 1 [running]:
FAIL	m/a	600s
TestHanging was running, and has said:
chatter

FAILED m/a TestHanging
    was running when nothing happened any more
DONE 1 test, 1 failure in 601.0s
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestTestsHaveNoDeadline(t *testing.T) {
	t.Parallel()
	got, err := goTest("/a b/gotest", "", []string{"-race", "./..."})
	if want := "go test -json -timeout 0 -exec '/a b/gotest' watch 10m0s -race ./..."; err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %q, %v, want %s", got, err, want)
	}
	if got, err := goTest("gotest", "90s", nil); err != nil || !strings.Contains(strings.Join(got, " "), "watch 1m30s") {
		t.Errorf("got %q, %v", got, err)
	}
	for _, silence := range []string{"long", "-1s", "0s"} {
		if got, err := goTest("gotest", silence, nil); err == nil {
			t.Errorf("GOTEST_SILENCE=%s gives %q", silence, got)
		}
	}
}

func TestHeartbeatNamesRunningTests(t *testing.T) {
	var out strings.Builder
	begin := time.Now()
	s := newSummary(&out, begin)
	s.beat(begin.Add(time.Minute))
	s.handle(event{Action: "run", Package: "m/a", Test: "TestSlow", Time: begin.Add(time.Minute)})
	s.beat(begin.Add(2 * time.Minute))
	const want = "... 1m0s: 0 passed, 0 failed, compiling\n... 2m0s: 0 passed, 0 failed, running m/a TestSlow (60 s)\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
