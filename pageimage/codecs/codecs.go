// Package codecs has the compressors of page images in the log. It is apart from package pageimage so
// that a program that does not compress them does not link the libraries behind it. Codecs allocate
// nothing per page once they are warm.
package codecs

import (
	"fmt"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
)

// All returns every codec there is: what a program passes as Options.ImageCodecs to read any log.
func All() pageimage.Codecs { return pageimage.Codecs{LZ4(), Zstd()} }

// ByName returns "lz4" or "zstd", or nil for "none" and "".
func ByName(name string) (pageimage.Codec, error) {
	if name == "" || name == "none" {
		return nil, nil
	}
	names := []string{"none"}
	for _, c := range All() {
		if c.Name() == name {
			return c, nil
		}
		names = append(names, c.Name())
	}
	return nil, fmt.Errorf("unknown codec %q; there are %s", name, strings.Join(names, ", "))
}

// LZ4 is the lz4 block format: fast, for pages that repeat themselves.
func LZ4() pageimage.Codec {
	return &lz4Codec{pool: sync.Pool{New: func() any { return new(lz4.Compressor) }}}
}

type lz4Codec struct{ pool sync.Pool }

func (*lz4Codec) ID() uint8    { return pageimage.LZ4 }
func (*lz4Codec) Name() string { return "lz4" }

func (c *lz4Codec) Compress(dst, src []byte) int {
	z := c.pool.Get().(*lz4.Compressor)
	n, err := z.CompressBlock(src, dst)
	c.pool.Put(z)
	if err != nil || n >= len(src) { // it does not fit
		return 0
	}
	return n
}

func (*lz4Codec) Decompress(dst, src []byte) error {
	n, err := lz4.UncompressBlock(src, dst)
	if err != nil {
		return err
	}
	if n != len(dst) {
		return fmt.Errorf("%d bytes of %d", n, len(dst))
	}
	return nil
}

// Zstd is one zstd frame at the library's fastest level: smaller than lz4, and slower.
func Zstd() pageimage.Codec {
	return &zstdCodec{
		enc: sync.Pool{New: func() any {
			e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithWindowSize(page.MaxSize), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
			if err != nil {
				return err
			}
			// Room for what does not become smaller: the library would allocate it.
			return &zstdEncoder{e, make([]byte, 0, page.MaxSize+1024)}
		}},
		dec: sync.Pool{New: func() any {
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(page.MaxSize))
			if err != nil {
				return err
			}
			return d
		}},
	}
}

type zstdCodec struct{ enc, dec sync.Pool }

type zstdEncoder struct {
	*zstd.Encoder
	buf []byte
}

func (*zstdCodec) ID() uint8    { return pageimage.Zstd }
func (*zstdCodec) Name() string { return "zstd" }

func (c *zstdCodec) Compress(dst, src []byte) int {
	e, ok := c.enc.Get().(*zstdEncoder)
	if !ok {
		return 0 // it is kept as it is
	}
	defer c.enc.Put(e)
	out := e.EncodeAll(src, e.buf)
	if len(out) > len(dst) {
		return 0
	}
	return copy(dst, out)
}

func (c *zstdCodec) Decompress(dst, src []byte) error {
	d, ok := c.dec.Get().(*zstd.Decoder)
	if !ok {
		return fmt.Errorf("no decoder")
	}
	defer c.dec.Put(d)
	out, err := d.DecodeAll(src, dst[:0:len(dst)])
	if err != nil {
		return err
	}
	if len(out) != len(dst) || len(out) > 0 && &out[0] != &dst[0] {
		return fmt.Errorf("%d bytes of %d", len(out), len(dst))
	}
	return nil
}
