package ring

import "fmt"

var kindNames = [...]string{"read", "write", "fdatasync", "fsync"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is a failed op, with what was being done to which bytes. It unwraps to the errno.
type Error struct {
	Kind Kind
	File string
	Off  int64
	Len  int
	Err  error
}

func (e *Error) Error() string {
	if e.Kind == DataSync || e.Kind == Sync {
		return fmt.Sprintf("%s %s: %v", e.Kind, e.File, e.Err)
	}
	return fmt.Sprintf("%s %s [%d, +%d): %v", e.Kind, e.File, e.Off, e.Len, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
