package torture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// group is a control group that children are put into.
type group struct{ dir string }

const cgroupRoot = "/sys/fs/cgroup"

// limit is one way to say what a group may have: cgroup v2 and v1 have other files.
type limit struct {
	parent, file, value string
	// further files are written if they are there.
	further map[string]string
}

// newGroup makes a group with the first limit that this machine takes.
func newGroup(name string, ways []limit) (*group, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a control group needs root")
	}
	name = fmt.Sprintf("untorn-%s-%d", name, os.Getpid())
	var errs []error
	for _, way := range ways {
		g := &group{filepath.Join(way.parent, name)}
		if err := os.Mkdir(g.dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		// Opened without O_CREATE: in a cgroup file system there is only what the kernel offers.
		err := writeFile(filepath.Join(g.dir, way.file), way.value)
		if err == nil {
			for file, value := range way.further {
				_ = writeFile(filepath.Join(g.dir, file), value) // no swap accounting: then no swap limit
			}
			return g, nil
		}
		g.close()
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// add moves a process, with all its threads, into the group.
func (g *group) add(pid int) error {
	return writeFile(filepath.Join(g.dir, "cgroup.procs"), strconv.Itoa(pid))
}

// close removes the group; it is empty by then.
func (g *group) close() {
	if g != nil {
		_ = os.Remove(g.dir)
	}
}
