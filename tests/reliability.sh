#!/bin/sh
# Runs all that docs/RELIABILITY.md names, a quarter of an hour, and writes the figures of this run there.
set -eu
logs=target/reliability
page=docs/RELIABILITY.md
mkdir -p "$logs"

# One part: its name, then the command. What it says goes to a file, so that a failure can be looked at.
part() {
    name=$1
    shift
    echo "reliability: $name"
    "$@" >"$logs/$name.log" 2>&1 || { tail -20 "$logs/$name.log"; echo "reliability: $name failed: $logs/$name.log" >&2; exit 1; }
}
part cuts make -s run-cuts
part defects make -s run-defects
# shellcheck disable=SC2086 # a list of words
part wrong-disk $CARGO test --release --test wrong_disk -- --nocapture
# shellcheck disable=SC2086 # likewise
part qemu $CARGO test --release --test qemu -- --nocapture prefixes:: faults:: wrong_disk:: hostile:: end::
part fuzz tests/fuzz/run.sh round

{
    echo '<!-- figures: begin -->'
    echo "Version $(git describe --always --dirty), $(date -u +%Y-%m-%d)."
    echo
    echo '```'
    grep -E '^(failing sectors|systems that never|cut points): ' "$logs/cuts.log"
    tail -1 "$logs/defects.log"
    grep '^wrong disk: ' "$logs/wrong-disk.log"
    echo
    echo 'on the real loader, in QEMU:'
    grep -E ' (writes, .* cuts|faults), |^wrong disk: .* failures' "$logs/qemu.log" | sort
    grep -E '^hostile ' "$logs/qemu.log" | sort
    grep '^test result: ' "$logs/qemu.log"
    echo
    echo 'a round of fuzzing:'
    sed -n '/^target /,$p' "$logs/fuzz.log"
    echo '```'
    echo '<!-- figures: end -->'
} >"$logs/figures.md"
awk -v figures="$logs/figures.md" '
    /<!-- figures: begin -->/ { while ((getline line < figures) > 0) print line; skip = 1 }
    !skip { print }
    /<!-- figures: end -->/ { skip = 0 }
' "$page" >"$logs/page.md"
cp "$logs/page.md" "$page"
echo "reliability: the figures are in $page"
