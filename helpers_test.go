package untorn_test

import "github.com/untorn/untorn/ring"

func backendOf(s string) ring.Backend { return ring.Backend(s) }
