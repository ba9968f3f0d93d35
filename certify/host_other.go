//go:build !unix

package certify

func (l *facts) limits() {}
