#!/usr/bin/env bash
# Go benchmarks of this tree beside those of another revision, in turns, so that both see the same
# machine; benchstat says which differences are more than noise.
#
# usage: bench/gobench.sh BASE    (make bench-compare BASE=...)
#   BENCH=regexp      which benchmarks (default: all)
#   BENCHTIME=200ms   of each, each time; COUNT=6 times (benchstat wants 6 or more)
#   PACKAGES="..."    where (default: ring, walstage, dwbstage, page, reclaim, recovery, aligned)
#   OUT=out/bench     where old.txt and new.txt stay
set -euo pipefail
base=${1:?usage: bench/gobench.sh BASE}
bench=${BENCH:-.} benchtime=${BENCHTIME:-200ms} count=${COUNT:-6} out=${OUT:-out/bench}
packages=${PACKAGES:-./ring ./walstage ./dwbstage ./page ./reclaim ./recovery ./aligned}
go=${GO:-go}
cd "$(dirname "$0")/.."
rev=$(git rev-parse --verify --quiet "$base^{commit}") || { echo "$base is no revision of this repository" >&2; exit 2; }

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'git worktree remove --force "$work/base" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/base" "$rev"

# Test binaries first: the compiler is not to run beside a benchmark.
for p in $packages; do
  n=${p#./} n=${n//\//-}
  "$go" test -c -o "$work/new-$n" "$p"
  [ -d "$work/base/$p" ] && (cd "$work/base" && "$go" test -c -o "$work/old-$n" "$p")
done

: >"$out/old.txt"; : >"$out/new.txt"
once() { # old|new, package, name, tree
  [ -x "$work/$1-$3" ] || return 0
  (cd "$4/$2" && "$work/$1-$3" -test.run '^$' -test.bench "$bench" -test.benchtime "$benchtime" -test.benchmem) >>"$out/$1.txt"
}
for i in $(seq "$count"); do
  for p in $packages; do
    n=${p#./} n=${n//\//-}
    echo "round $i of $count: $p" >&2
    once old "$p" "$n" "$work/base"
    once new "$p" "$n" "$PWD"
  done
done
"$go" tool benchstat "$base=$out/old.txt" "here=$out/new.txt" | tee "$out/compare.txt"
