#!/bin/sh
# Who may include what, and who may use which library: downwards only.
set -eu
cd "$TOP_SRCDIR"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=$dir/bad
: >"$bad"

# Sources of the program and its archives: FILE.
sources()
{
    find main.c main.h engine datasets train probes analysis -name '*.[ch]' \
        ! -path 'datasets/demo/*' | sort
}

# may FILES ALLOWED: project headers that FILES include match ALLOWED.
may()
{
    sources | grep -E "$1" | grep -Ev '(^|/)(main|cmd_[a-z]+)\.[ch]$' |
        xargs -r grep -HnE '^#[[:space:]]*include[[:space:]]*"' |
        grep -Ev "\"(config\.h|$2)\"" | sed 's/^/may not include: /' \
        >>"$bad" || true
}

may '^engine/base/' 'engine/base/[a-z_0-9]+\.h'
may '^engine/' 'engine/[a-z_0-9/]+\.(h|def)'
may '^datasets/' '(engine/base|datasets)/[a-z_0-9]+\.(h|def)'
may '^train/' '(engine|datasets|train)/[a-z_0-9/]+\.(h|def)'
may '^probes/' '(engine/base/[a-z_0-9]+|engine/(hook|model|forward|router|tensor|weights/weights)|datasets/[a-z_0-9]+|probes/[a-z_0-9]+)\.(h|def)'
may '^analysis/' '(engine/base/[a-z_0-9]+|probes/trace|probes/trace_read|analysis/[a-z_0-9]+)\.(h|def)'

# only FILES PATTERN WHAT: the pattern occurs in no other source.
only()
{
    sources | grep -Ev "$1" | xargs grep -HnE "$2" |
        sed "s|^|$3 does not belong here: |" >>"$bad" || true
}

only '^probes/trace_[a-z_]+\.[ch]$' '<sqlite3\.h>|sqlite3_[a-z]' 'SQLite'
only '^engine/backend/openblas\.c$' '<(cblas|openblas_config)\.h>|cblas_|openblas_[a-z]+\(' 'BLAS'
only '^datasets/csv_rows\.c$' '<csv\.h>' 'libcsv'
only '^datasets/' '<(zlib|zstd)\.h>' 'decompression'
only '^probes/mpi\.c$' '<mpi\.h>|(^|[^A-Za-z_])MPI_[A-Z]' 'MPI'
only '^engine/base/json\.[ch]$' '<jansson\.h>' 'jansson'
only '^engine/base/digest\.c$' '<openssl/' 'libcrypto'
only '^(analysis/plot[a-z_]*|engine/llama_bench|train/pieces)\.c$' 'popen *\(|posix_spawnp? *\(|execlp|execvp' 'a child process'
only '^(main|.*/cmd_[a-z]+|engine/base/cli)\.c$' '(^|[^a-z_])(printf|puts|putchar) *\(' 'printing'
only '^(main|.*/cmd_[a-z]+|engine/base/(cli|map))\.c$' '[^_a-z]stdout' 'standard output'
only '^(main|.*/cmd_[a-z]+|engine/base/(cli|log|progress))\.c$' '[^_a-z]stderr' 'standard error'
only '^main\.c$' '(^|[^a-z_])(_?exit|abort) *\(' 'ending the process'
only '^$' '(^|[^a-z_])(atoi|atol|atof|strcpy|strcat|sprintf|gets) *\(' 'an unchecked call'

# x_internal.h is for its own folder.
sources | xargs grep -HnE '^#include "[a-z/_0-9]+_internal\.h"' |
    awk -F'[:"]' '{ a = $1; b = $4; sub(/[^\/]*$/, "", a)
        sub(/[^\/]*$/, "", b)
        if (a != b) print "internal to another folder: " $0 }' >>"$bad" || true

# config.h comes first in every .c file, and each file's own header second.
sources | grep '\.c$' | while read -r f; do
    first=$(grep -m1 '^#include' "$f" || true)
    [ "$first" = '#include "config.h"' ] || echo "$f: does not begin with config.h"
    own=${f%.c}.h
    [ ! -f "$own" ] || [ "$(grep '^#include' "$f" | sed -n 2p)" = "#include \"$own\"" ] ||
        echo "$f: its own header does not follow config.h"
done >>"$bad"

if [ -s "$bad" ]; then
    cat "$bad"
    exit 1
fi
