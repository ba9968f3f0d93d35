package super

// Copy is one copy of super as it lies in the file.
type Copy struct {
	Index int
	Seq   uint64
	State *State // nil when the copy is not valid
	Err   error  // why it is not
}

// DecodeCopies decodes the bytes of a super file, however few there are. It is for tools that look at a
// directory from outside: it decides nothing.
func DecodeCopies(b []byte) []Copy {
	out := make([]Copy, Copies)
	for i := range out {
		out[i].Index = i
		lo, hi := min(i*Zone, len(b)), min((i+1)*Zone, len(b))
		out[i].State, out[i].Seq, out[i].Err = decode(b[lo:hi])
	}
	return out
}
