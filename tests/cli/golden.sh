#!/bin/sh
# make check-golden GOLDEN=DIR: every Mixtral case below DIR/golden and
# DIR/golden-gguf and the routes of DIR/golden-demo, for each backend.
set -eu
[ -n "${GOLDEN:-}" ] || exit 77
[ -d "$GOLDEN/golden" ] || {
    echo "$GOLDEN/golden: no such folder"
    exit 1
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
rc=0
n=0

# Two bf16 terms keep 17 bits of an activation where float32 has 24: every route
# as the reference, numbers within ten times the tolerance of float32.
loose=
for options in "-b amx --precision split" "-b onednn --precision split"; do
    if "$TOP_BUILDDIR/moetrace" dump "$GOLDEN/golden/mixtral-small-f32/model" \
        -i "$GOLDEN/golden/mixtral-small-f32/tokens.txt" -o "$dir/try" \
        $options 2>/dev/null; then
        loose="$loose
$options"
        rm "$dir/try"
    fi
done

# compare_loosely CASE MODEL
compare_loosely()
{
    echo "$loose" | while read -r options; do
        [ -n "$options" ] || continue
        "$TOP_BUILDDIR/moetrace" dump "$2" -i "$1/tokens.txt" \
            -o "$dir/out.safetensors" --force $options 2>"$dir/log" &&
            "$TOP_BUILDDIR/tests/compare_dumps" "$dir/out.safetensors" \
                "$1/golden.safetensors" 10 >"$dir/log" || {
            echo "$1 $options: differs from the reference"
            cat "$dir/log"
            exit 1
        }
    done || rc=1
}

# compare CASE MODEL
compare()
{
    compare_loosely "$1" "$2"
    for options in "-b ref --threads 2" "-b openblas --threads 1" \
        "-b openblas --threads 2 --batch 64"; do
        n=$((n + 1))
        "$TOP_BUILDDIR/moetrace" dump "$2" -i "$1/tokens.txt" \
            -o "$dir/out.safetensors" --force $options 2>"$dir/log" &&
            "$TOP_BUILDDIR/tests/compare_dumps" "$dir/out.safetensors" \
                "$1/golden.safetensors" >"$dir/log" || {
            echo "$1 $options: differs from the reference"
            cat "$dir/log"
            rc=1
        }
    done
}

for case in "$GOLDEN"/golden/mixtral-*; do
    compare "$case" "$case/model"
done
for case in "$GOLDEN"/golden-gguf/mixtral-*; do
    model=$case/model.gguf
    [ -f "$model" ] || model=$(ls "$case"/model-00001-of-*.gguf)
    compare "$case" "$model"
done
compare "$GOLDEN/golden-demo" "$GOLDEN/demo-model"
[ $n -gt 0 ] || {
    echo "$GOLDEN: no cases found"
    rc=1
}
exit $rc
