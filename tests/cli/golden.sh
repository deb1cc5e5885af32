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

# compare CASE MODEL
compare()
{
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
