# How every test of this folder begins: read by them, not run. A folder of its
# own that goes with it, the program, and a note of what fails.
moetrace=$TOP_BUILDDIR/moetrace
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
rc=0
fail()
{
    echo "$*"
    rc=1
}
# is_in DB QUERY VALUE: what SQLite's own shell finds
is_in()
{
    got=$(sqlite3 "$1" "$2")
    [ "$got" = "$3" ] || fail "$1: $2 gives '$got', not '$3'"
}
# refuses STATUS PATTERN COMMAND...: this exit status, one line on standard error
# that holds the pattern, nothing on standard output
refuses()
{
    status=$1 text=$2
    shift 2
    got=0
    "$@" >"$dir/out" 2>"$dir/err" </dev/null || got=$?
    [ "$got" = "$status" ] || fail "$*: exit $got, not $status"
    [ "$(wc -l <"$dir/err")" = 1 ] || fail "$*: not one line: $(cat "$dir/err")"
    grep -q -- "$text" "$dir/err" || fail "$*: '$(cat "$dir/err")' lacks '$text'"
    [ ! -s "$dir/out" ] || fail "$*: prints $(head -c 200 "$dir/out")"
}
