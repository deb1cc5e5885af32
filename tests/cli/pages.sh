#!/bin/sh
# Every command has a manual page that names every option that --help shows,
# and every page is sound mdoc.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
cd "$TOP_SRCDIR"

commands=$("$moetrace" --help | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p')
listed=$(sed -n 's/^MOE_COMMAND(\([a-z]*\),.*/\1/p' commands.def)
[ "$commands" = "$listed" ] || fail "moetrace --help does not list commands.def"

for c in $commands; do
    "$moetrace" "$c" --help >"$dir/help" || fail "moetrace $c --help fails"
    options=$(sed -n 's/^  \(-[a-zA-Z], \|    \)--\([a-z0-9-]*\).*/\2/p' "$dir/help")
    page=$(find engine datasets train probes analysis -name "moetrace-$c.1")
    grep -q "^\.It Xr moetrace-$c 1\$" "$TOP_BUILDDIR/moetrace.1" ||
        fail "moetrace.1 does not list $c"
    [ -n "$options" ] || fail "moetrace $c --help shows no options"
    [ -f "$page" ] || {
        fail "moetrace-$c.1 is missing"
        continue
    }
    for o in $options; do
        grep -qE "(^\.|[[:space:]])Fl -$o([[:space:]]|\$)" "$page" ||
            fail "$page does not name --$o"
    done
    # and the other way round: no option that is not there
    for o in $(grep -oE '(^\.It |^\.|, *|[[:space:]])Fl -[a-z][a-z0-9-]*' "$page" |
        sed 's/.*Fl -//' | sort -u); do
        echo "$options" | grep -qx -- "$o" ||
            fail "$page names --$o, which $c does not know"
    done
    grep -q '^\.Sh EXIT STATUS' "$page" || fail "$page lacks EXIT STATUS"
    grep -q '^\.Sh EXAMPLES' "$page" || fail "$page lacks EXAMPLES"
done

for page in ${commands:+"$TOP_BUILDDIR/moetrace.1"} \
    $(find engine datasets train probes analysis -name 'moetrace*.[17]'); do
    if command -v mandoc >/dev/null; then
        mandoc -Tlint -Werror "$page" >"$dir/lint" 2>&1 || fail "$(cat "$dir/lint")"
    fi
    if command -v groff >/dev/null && groff -mdoc -Tutf8 -z </dev/null 2>/dev/null; then
        groff -ww -mdoc -Tutf8 -z "$page" >"$dir/lint" 2>&1
        [ ! -s "$dir/lint" ] || fail "$(cat "$dir/lint")"
    fi
done
exit $rc
