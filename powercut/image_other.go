//go:build !linux

package main

import "errors"

type image struct{}

func newImage(dir, base, fs string, id int) (*image, error) { return nil, canMount() }

func (m *image) close() error                             { return nil }
func (m *image) restore() error                           { return nil }
func (m *image) WriteAt(b []byte, off int64) (int, error) { return 0, canMount() }
func (m *image) raw() rawImage                            { return rawImage{} }
func (m *image) mounted(f func(dir string) error) error   { return canMount() }
func (rawImage) WriteAt(b []byte, off int64) (int, error) { return 0, canMount() }
func canMount() error                                     { return errors.New("only on Linux") }

type rawImage struct{}
