#!/bin/sh
# Builds every fuzz target and runs them; a table at the end. docs/FUZZING.md.
#
#   tests/fuzz/run.sh round                  a short one, the same at every run: for `make test`
#   tests/fuzz/run.sh long SECONDS [TARGET]  each target, or one, for so long
#
# CARGO is the cargo to be used, with its environment. SANITIZER=address has every access to memory checked, where
# the compiler brings what that needs.
set -eu
cd "$(dirname "$0")/../.."
mode=$1; seconds=${2:-8}; only=${3:-}
fuzz=$PWD/target/fuzz
sanitizer=${SANITIZER:-none}
host=$(uname -m)-unknown-linux-gnu
build=$fuzz/build
# cargo-fuzz's own flags, without a need for it: `cargo fuzz run TARGET --fuzz-dir tests/fuzz` works as well.
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags="$flags -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags="$flags -Cllvm-args=-sanitizer-coverage-trace-compares"
if [ "$sanitizer" != none ]; then
    flags="$flags -Zsanitizer=$sanitizer"
    export RUSTC_BOOTSTRAP=1
    build=$build-$sanitizer
fi
export RUSTFLAGS="$flags"
# shellcheck disable=SC2086 # words: an environment and a program
(cd tests/fuzz && env ${CARGO:-cargo} build --release --locked --bins --target "$host" --target-dir "$build") || exit 1

targets=$(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"/\1/p' tests/fuzz/Cargo.toml)
if [ -n "$only" ]; then
    echo "$targets" | grep -qx "$only" || { echo "fuzz: no target $only; there are: $(echo $targets)" >&2; exit 2; }
    targets=$only
fi
for target in $targets; do
    [ -d "$fuzz/corpus/$target" ] && continue
    echo "fuzz: no corpus for $target; type: cargo test --release --test fuzzing" >&2
    exit 1
done
mkdir -p "$fuzz/logs"

# One target: what it finds of interest is kept in found/, but for a round, which is to be the same every time.
cat > "$fuzz/one.sh" <<ONE
target=\$1
found=$fuzz/found/\$target
limit="-max_total_time=$seconds"
[ $mode = long ] || { found=$fuzz/round/\$target; rm -rf "\$found"; limit="-seed=1 -runs=20000 -max_total_time=$seconds"; }
mkdir -p "\$found" $fuzz/crashes/\$target
words=
[ ! -e tests/fuzz/\$target.dict ] || words=-dict=tests/fuzz/\$target.dict
# Inputs are whole sectors with their numbers; the longest one of real tools sets the limit.
longest=\$(find $fuzz/corpus/\$target -type f -printf '%s\n' | sort -n | tail -1)
$build/$host/release/\$target "\$found" $fuzz/corpus/\$target \$limit \$words -max_len=\$((longest * 5 / 4 + 8)) \\
    -timeout=10 -rss_limit_mb=1024 -len_control=0 -print_final_stats=1 -artifact_prefix=$fuzz/crashes/\$target/ \\
    >$fuzz/logs/\$target.log 2>&1 || :
ONE
# shellcheck disable=SC2086 # a list of words
printf '%s\n' $targets | xargs -P "${JOBS:-$(nproc)}" -I{} nice sh "$fuzz/one.sh" {}

printf '\n%-10s %12s %10s %16s %8s %8s\n' target executions 'per second' 'edges covered' 'RSS MiB' crashes
failed=0
for target in $targets; do
    log=$fuzz/logs/$target.log
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    all=$(sed -n 's/.*Loaded 1 modules *(\([0-9]*\) inline.*/\1/p' "$log" | head -1)
    crash=$(sed -n 's/^.*Test unit written to //p' "$log")
    # A target that ended without its figures has not run to its end, whatever the reason.
    runs=$(stat number_of_executed_units)
    crashes=0
    if [ -n "$crash" ] || [ -z "$runs" ]; then crashes=1; failed=1; fi
    printf '%-10s %12s %10s %16s %8s %8s\n' "$target" "${runs:-?}" "$(stat average_exec_per_sec)" \
        "${edges:-?} of ${all:-?}" "$(stat peak_rss_mb)" "$crashes"
    if [ "$crashes" -ne 0 ]; then
        grep -m 3 -E 'panicked at|ERROR: |allocation' -A 1 "$log" | sed 's/^/    /' || tail -5 "$log"
        for one in $crash; do echo "    replay: $build/$host/release/$target $one"; done
    fi
done
exit $failed
