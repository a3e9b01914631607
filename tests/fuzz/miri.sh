#!/bin/sh
# The parsers' tests under Miri, which finds what unsafe code must not do: core has none, but LZ4's decoder has.
# Miri is a part of nightly toolchains alone; where there is none, this names what to type.
set -eu
cd "$(dirname "$0")/../.."
if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "make: no Miri here; type: rustup toolchain install nightly --component miri,rust-src && make miri" >&2
    exit 1
fi
# Files are read, nothing else of the host is needed. Inputs are few and short: Miri is a thousand times slower.
export MIRIFLAGS="-Zmiri-disable-isolation"
cargo +nightly miri test --target-dir target/fuzz/miri -p knownstate-hot
cargo +nightly miri test --target-dir target/fuzz/miri --manifest-path tests/fuzz/Cargo.toml --test committed
