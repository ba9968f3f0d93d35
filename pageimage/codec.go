package pageimage

import (
	"errors"
	"fmt"
)

// Codec makes images smaller, and whole again. Package pageimage/codecs has those there are: the
// libraries behind them stay out of a program that does not want them. Methods may be called from
// any goroutine.
type Codec interface {
	// ID is what records hold: 1 = lz4, 2 = zstd. It is never used for another format.
	ID() uint8
	// Name is how people call it.
	Name() string
	// Compress writes src to dst in the codec's format and returns its length; 0 when it does not fit
	// in dst. src is not changed. Neither is kept.
	Compress(dst, src []byte) int
	// Decompress fills dst, whose length is that of the original. Anything else in src is an error.
	Decompress(dst, src []byte) error
}

// ErrCodec is an image whose codec the program was not given.
var ErrCodec = errors.New("page image in a codec that is not registered")

// Codecs are those a program can read.
type Codecs []Codec

// Find returns the codec of an id; the error wraps ErrCodec.
func (c Codecs) Find(id uint8) (Codec, error) {
	for _, x := range c {
		if x.ID() == id {
			return x, nil
		}
	}
	name := ""
	switch id {
	case LZ4:
		name = " (lz4)"
	case Zstd:
		name = " (zstd)"
	}
	return nil, fmt.Errorf("%w: %d%s", ErrCodec, id, name)
}

// The ids of codecs.
const (
	Plain = 0
	LZ4   = 1
	Zstd  = 2
)
