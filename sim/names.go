package sim

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// change is one directory entry changing: name in dir now means id, or nothing if id is 0.
type change struct {
	dir  nodeID
	name string
	id   nodeID
}

type place struct {
	dir  nodeID
	name string
}

func (c change) place() place { return place{c.dir, c.name} }

// nameOp is a creation, removal or rename that is not durable in every directory it touches. What
// of it has become durable has left changes.
type nameOp struct {
	stamp   uint64
	changes []change
	lost    bool // left behind by a failed SyncDir: no later one makes it durable
}

// applyName makes an event happen that is about directory entries.
func (s *state) applyName(e *Entry) {
	switch e.Kind {
	case Create:
		s.nodes[e.node] = &node{}
		s.next = e.node + 1
	case Mkdir:
		s.nodes[e.node] = &node{dir: true, cdir: entries{}, ddir: entries{}}
		s.next = e.node + 1
	case SyncDir:
		s.syncDir(e.node)
		s.collect()
		return
	case SyncDirFail:
		for i, o := range s.names {
			in := func(c change) bool { return c.dir == e.node }
			s.names[i].lost = o.lost || slices.ContainsFunc(o.changes, in)
		}
		return
	}
	for _, c := range e.changes {
		s.nodes[c.dir].cdir.set(c)
	}
	s.names = append(s.names, nameOp{stamp: s.stamp, changes: e.changes})
}

type entries map[string]nodeID

func (m entries) set(c change) {
	if c.id == 0 {
		delete(m, c.name)
		return
	}
	m[c.name] = c.id
}

// syncDir makes the changes in one directory durable, in order. The other half of a rename between
// two directories stays undecided until that directory is flushed too. What a failed flush left
// behind stays undecided unless the same name was changed again since, as a lost write does until
// it is written again.
func (s *state) syncDir(dir nodeID) {
	keep := s.names[:0:0]
	for _, o := range s.names {
		if o.lost {
			keep = append(keep, o)
			continue
		}
		keep = overtaken(keep, o.changes, dir)
		var rest []change
		for _, c := range o.changes {
			if c.dir == dir {
				s.nodes[dir].ddir.set(c)
			} else {
				rest = append(rest, c)
			}
		}
		if len(rest) > 0 {
			o.changes = rest
			keep = append(keep, o)
		}
	}
	s.names = keep
}

// overtaken takes out of earlier changes what later ones of the same names, now durable, replace.
func overtaken(earlier []nameOp, by []change, dir nodeID) []nameOp {
	keep := earlier[:0]
	for _, o := range earlier {
		o.changes = slices.DeleteFunc(slices.Clone(o.changes), func(c change) bool {
			return c.dir == dir && slices.ContainsFunc(by, func(n change) bool { return n.place() == c.place() })
		})
		if len(o.changes) > 0 {
			keep = append(keep, o)
		}
	}
	return keep
}

// blocks reports whether a change must not happen because an earlier one of the same name did not.
func blocks(blocked map[place]bool, changes []change) bool {
	return slices.ContainsFunc(changes, func(c change) bool { return blocked[c.place()] })
}

func block(blocked map[place]bool, changes []change) {
	for _, c := range changes {
		blocked[c.place()] = true
	}
}

// decideNames makes the undecided changes that happen[i] says happened durable, and forgets the
// others. A change whose predecessor on the same name did not happen does not either.
func (s *state) decideNames(happen []bool) {
	blocked := map[place]bool{}
	for i, o := range s.names {
		if !happen[i] || blocks(blocked, o.changes) {
			block(blocked, o.changes)
			continue
		}
		for _, c := range o.changes {
			if d := s.nodes[c.dir]; d != nil {
				d.ddir.set(c)
			}
		}
	}
	s.names = nil
}

// collect forgets nodes that nothing can reach any more.
func (s *state) collect() {
	live := map[nodeID]bool{rootID: true}
	for _, n := range s.nodes {
		for _, m := range []entries{n.cdir, n.ddir} {
			for _, id := range m {
				live[id] = true
			}
		}
	}
	for _, o := range s.names {
		for _, c := range o.changes {
			live[c.id] = true
		}
	}
	for _, h := range s.handles {
		live[h.node] = true
	}
	maps.DeleteFunc(s.nodes, func(id nodeID, _ *node) bool { return !live[id] })
}

// clean is the one spelling of a path here: absolute and relative paths mean the same.
func clean(p string) string { return path.Clean("/" + strings.ReplaceAll(p, "\\", "/")) }

// lookup finds what a path names now.
func (s *state) lookup(p string) (nodeID, *node, error) {
	id := rootID
	for name := range strings.SplitSeq(clean(p)[1:], "/") {
		if name == "" {
			continue
		}
		next, ok := s.nodes[id].cdir[name] // a file has no entries
		if !ok {
			return 0, nil, fs.ErrNotExist
		}
		id = next
	}
	return id, s.nodes[id], nil
}

// parent finds the directory a path's last element lies in.
func (s *state) parent(p string) (dir nodeID, name string, err error) {
	p = clean(p)
	dir, n, err := s.lookup(path.Dir(p))
	if err != nil || !n.dir || p == "/" {
		return 0, "", fs.ErrNotExist
	}
	return dir, path.Base(p), nil
}

// used is the space taken: the sizes of the files that have a name or are open.
func (s *state) used() int64 {
	seen := map[nodeID]bool{}
	var sum int64
	add := func(id nodeID) {
		if n := s.nodes[id]; n != nil && !n.dir && !seen[id] {
			seen[id] = true
			sum += n.cur.size
		}
	}
	for _, n := range s.nodes {
		for _, id := range n.cdir {
			add(id)
		}
	}
	for _, h := range s.handles {
		add(h.node)
	}
	return sum
}
