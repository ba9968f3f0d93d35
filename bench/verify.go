package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/untorn/untorn/page"
)

const wrongListed = 8

// verify reads every page, closes, opens again and reads them once more. Every page must be whole
// and exactly the version written last: clients have stopped and everything was acknowledged.
func (s *session) verify(ctx context.Context) (*Verified, error) {
	v := &Verified{}
	for _, n := range s.ledger {
		if n > 0 {
			v.Written++
		}
	}
	if err := s.t.settle(ctx); err != nil {
		return v, err
	}
	if err := s.readAll(ctx, v, "while open"); err != nil {
		return v, err
	}
	if err := s.t.reopen(ctx); err != nil {
		return v, fmt.Errorf("opening again: %w", err)
	}
	v.Reopened = true
	for i, k := range s.clients {
		k.w = s.t.worker(i)
	}
	if err := s.readAll(ctx, v, "after opening again"); err != nil {
		return v, err
	}
	v.OK = v.WrongCount == 0
	return v, nil
}

func (s *session) readAll(ctx context.Context, v *Verified, when string) error {
	const step = 64
	w := s.t.worker(0)
	nos := make([]page.No, 0, step)
	see := func(i int, image []byte) {
		v.Checked++
		want := s.ledger[nos[i]]
		got, err := s.contents.check(image, nos[i])
		if err == nil && got != want {
			err = fmt.Errorf("page %d has version %d, acknowledged was %d", nos[i], got, want)
		}
		if err != nil {
			v.wrong(fmt.Sprintf("%s: %v", when, err))
		}
	}
	for at := 0; at < len(s.ledger); at += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		nos = nos[:0]
		for i := at; i < min(at+step, len(s.ledger)); i++ {
			nos = append(nos, page.No(i))
		}
		err := w.get(ctx, nos, see)
		if err == nil {
			continue
		}
		// One page of these: read them one by one to say which.
		all := nos
		for _, no := range all {
			nos = []page.No{no}
			if err := w.get(ctx, nos, see); err != nil {
				if errors.Is(err, ctx.Err()) && ctx.Err() != nil {
					return err
				}
				v.Checked++
				v.wrong(fmt.Sprintf("%s: %v", when, err))
			}
		}
	}
	return nil
}

func (v *Verified) wrong(what string) {
	v.WrongCount++
	if len(v.Wrong) < wrongListed {
		v.Wrong = append(v.Wrong, what)
	}
}
