#!/bin/sh
# Loss and gradients of one training step are PyTorch's, on the same weights and
# tokens. Needs Debian's python3-torch.
set -eu
python=${PYTHON:-python3}
"$python" -c 'import numpy, torch' 2>/dev/null || {
    python=/usr/bin/python3
    "$python" -c 'import numpy, torch' 2>/dev/null || exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
small="layers=2 dim=48 heads=4 kv_heads=2 d_head=12 ffn=56 vocab=211 windows=3 length=29"

# MODEL BACKEND TOLERANCE: relative to the norm of each tensor's gradient.
compare()
{
    rm -f "$dir"/*
    # shellcheck disable=SC2086
    "$TOP_BUILDDIR/tests/step_once" "$dir" 0 "$2" 2 $1 >"$dir/said"
    OMP_NUM_THREADS=1 "$python" "$TOP_SRCDIR/tests/torch_step.py" "$dir" check \
        "$3" || {
        echo "$2: $1"
        exit 1
    }
}

compare "$small experts=8 top_k=2 balance=0.3 z=0.1" openblas 1e-5
if "$TOP_BUILDDIR/tests/step_once" - 0 amx 1 >/dev/null 2>&1; then
    compare "$small experts=3 top_k=1 balance=0" amx 1e-3
fi
