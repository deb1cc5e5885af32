# Text files as C: each becomes a list of its lines, named NAME=FILE.
#   awk -f embed.awk moe_page_css=page.css ... >page_files.c

# A line within a C string. Not gsub: awks disagree about backslashes in what it
# puts in. A question mark is escaped so that no trigraph can form.
function escaped(line,    out, i)
{
    out = ""
    while ((i = match(line, /[\\"?]/)) > 0) {
        out = out substr(line, 1, i - 1) "\\" substr(line, i, 1)
        line = substr(line, i + 1)
    }
    return out line
}

BEGIN {
    print "/* Made by embed.awk from the files of analysis/page. */"
    print "#include \"config.h\"\n\n#include \"analysis/page.h\"\n"
    for (i = 1; i < ARGC; i++) {
        eq = index(ARGV[i], "=")
        part[1] = substr(ARGV[i], 1, eq - 1)
        part[2] = substr(ARGV[i], eq + 1)
        print "const char *const " part[1] "[] = {"
        while ((status = (getline line < part[2])) > 0) {
            print "    \"" escaped(line) "\\n\","
        }
        if (status < 0) {
            print "embed.awk: cannot read " part[2] > "/dev/stderr"
            exit 1
        }
        close(part[2])
        print "    0};\n"
    }
    exit 0
}
