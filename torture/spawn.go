package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// stallAfter is how long a child may say nothing before it is suspected to be stuck. Everything it
// does takes milliseconds; a throttled one is never suspected.
const (
	stallAfter = 3 * time.Second
	openLimit  = time.Minute // for an open and a survey
)

// runChild starts a child and kills it after life, or finds that it ended by itself.
func (r *runner) runChild(ctx context.Context, j *job, life lifetime) error {
	if r.m.end == endClosed {
		r.m.end = endClosing // the open begins: a kill may fall before or after it clears the flag
	}
	end := r.fillAndRelease()
	c, err := r.start(j)
	if err != nil {
		return errors.Join(err, end())
	}
	stuck := c.untilDeath(ctx, life, j.Slow)
	if err := errors.Join(c.wait(), end()); err != nil {
		return err
	}
	switch {
	case j.Hog > 0 && c.outOfMemory():
		r.res.Kills++
		r.res.MemoryKills++
	case stuck:
		r.m.violate("the child said nothing for %s and more; its goroutines:\n%s", stallAfter,
			tail(c.stderr.Bytes(), 200))
	case c.killed:
		r.res.Kills++
	case c.cmd.ProcessState.ExitCode() == exitFailed: // evStopped has told
	case c.cmd.ProcessState.ExitCode() != 0:
		r.m.violate("the child ended by itself with %s; it said:\n%s", c.cmd.ProcessState,
			tail(c.stderr.Bytes(), 60))
	}
	return nil
}

// lifetime is when a child dies: so long after it was started, or after it began to work.
type lifetime struct {
	of      time.Duration
	working bool
}

// proc is a child that was started.
type proc struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	read   chan error
	exited chan struct{}
	last   atomic.Int64  // when the last event came
	shot   bool          // by the parent
	works  chan struct{} // closed when it has surveyed the directory
	killed bool
}

func (r *runner) start(j *job) (*proc, error) {
	args := r.cfg.Command
	if len(args) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		args = []string{self}
	}
	line, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c := &proc{cmd: exec.Command(args[0], args[1:]...), read: make(chan error, 1),
		exited: make(chan struct{}),
		works:  make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childEnv+"=1")
	c.cmd.ExtraFiles = []*os.File{to}
	c.cmd.Stderr = &c.stderr
	// A group of its own: an interrupt from the terminal is for the parent, which ends in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.stdin, err = c.cmd.StdinPipe(); err == nil {
		err = c.cmd.Start()
	}
	to.Close() // the child's end alone keeps the pipe open
	if err != nil {
		from.Close()
		return nil, fmt.Errorf("starting a child: %w", err)
	}
	c.last.Store(time.Now().UnixNano())
	go func() {
		defer from.Close()
		c.read <- readEvents(from, func(e event) {
			c.last.Store(time.Now().UnixNano())
			r.m.apply(&e)
			if e.kind == evSeenAll {
				close(c.works)
			}
		})
	}()
	go func() {
		_ = c.cmd.Wait() // what it means is in ProcessState
		close(c.exited)
	}()
	// Before it has done any I/O, or taken memory.
	if j.Slow {
		err = r.disk.add(c.cmd.Process.Pid)
	}
	if r.mem != nil && err == nil && j.Hog > 0 {
		err = r.mem.add(c.cmd.Process.Pid)
	}
	if err == nil {
		_, err = c.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		c.kill(syscall.SIGKILL)
		<-c.exited
		return nil, fmt.Errorf("starting a child: %w", err)
	}
	return c, nil
}

func (c *proc) kill(sig syscall.Signal) { _ = c.cmd.Process.Signal(sig) }

// untilDeath kills the child when its time has come. A child that has fallen silent is made to
// print its goroutines instead.
func (c *proc) untilDeath(ctx context.Context, life lifetime, slow bool) (stuck bool) {
	if life.working {
		select {
		case <-c.works:
		case <-c.exited:
			return false
		case <-time.After(openLimit):
		case <-ctx.Done():
		}
	}
	t := time.NewTimer(life.of)
	defer t.Stop()
	select {
	case <-c.exited:
		return false
	case <-t.C:
	case <-ctx.Done():
	}
	if !slow && c.silent() {
		c.kill(syscall.SIGQUIT)
		select {
		case <-c.exited:
			return true
		case <-time.After(5 * time.Second):
		}
		c.kill(syscall.SIGKILL)
		<-c.exited
		return true
	}
	c.shot = true
	c.kill(syscall.SIGKILL)
	<-c.exited
	ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	c.killed = ok && ws.Signaled()
	return false
}

// outOfMemory tells a death by the memory limit from others: the kernel shot it and the parent did
// not, or Go's allocator gave up.
func (c *proc) outOfMemory() bool {
	ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok || c.shot:
		return false
	case ws.Signaled():
		return ws.Signal() == syscall.SIGKILL
	}
	said := c.stderr.String()
	return strings.Contains(said, "out of memory") || strings.Contains(said, "cannot allocate memory")
}

// wait returns when every event has been taken.
func (c *proc) wait() error {
	c.stdin.Close()
	select {
	case err := <-c.read:
		return err
	case <-time.After(time.Minute):
		return fmt.Errorf("the pipe of a dead child stays open")
	}
}

// silent reports whether the child has stopped talking: for a while already, and for a while more,
// in case the machine is slow.
func (c *proc) silent() bool {
	for range 20 {
		if time.Since(time.Unix(0, c.last.Load())) < stallAfter {
			return false
		}
		select {
		case <-c.exited:
			return false
		case <-time.After(time.Second):
		}
	}
	return true
}

// tail is the last lines of what a child said.
func tail(b []byte, lines int) []byte {
	b = bytes.TrimSpace(b)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == '\n' {
			if lines--; lines == 0 {
				return b[i+1:]
			}
		}
	}
	return b
}
