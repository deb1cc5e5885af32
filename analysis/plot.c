#include "config.h"

#include "analysis/plot.h"

#include "analysis/html.h"
#include "analysis/style.h"
#include "engine/base/log.h"
#include "engine/base/map.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

void moe_plot_fini(moe_plot *p)
{
    moe_buf_fini(&p->csv);
    moe_buf_fini(&p->body);
    *p = (moe_plot){0};
}

void moe_plot_quote(moe_buf *out, const char *text)
{
    moe_buf line = {0};

    moe_text_line(&line, text);
    out->failed |= line.failed;
    moe_buf_puts(out, "'");
    for (const char *p = line.data ? line.data : ""; *p; p++)
        moe_buf_add(out, *p == '\'' ? "''" : p, *p == '\'' ? 2 : 1);
    moe_buf_puts(out, "'");
    moe_buf_fini(&line);
}

void moe_plot_field(moe_buf *out, const char *text)
{
    moe_buf line = {0};
    const char *s;

    moe_text_line(&line, text);
    out->failed |= line.failed;
    s = line.data ? line.data : "";
    if (!strpbrk(s, ",\"")) {
        moe_buf_puts(out, s);
    } else {
        moe_buf_puts(out, "\"");
        for (; *s; s++)
            moe_buf_add(out, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
        moe_buf_puts(out, "\"");
    }
    moe_buf_fini(&line);
}

static double px(double mm, int dpi)
{
    return mm / 25.4 * dpi;
}

/* What stands before and after the figure's own commands. The loop draws the
 * same commands on each terminal: replot cannot repeat several panels. */
static void add_script(moe_buf *out, const moe_plot *p, unsigned formats)
{
    moe_buf_printf(out,
                   "# Draws the figure from %s.csv beside this file:\n"
                   "#   gnuplot %s.gp\n"
                   "do for [format in \"%s%s%s\"] {\n"
                   "reset\nset encoding utf8\nset datafile separator comma\n"
                   "set datafile missing ''\n",
                   p->name, p->name, formats & MOE_PLOT_SVG ? "svg " : "",
                   formats & MOE_PLOT_PNG ? "png " : "",
                   formats & MOE_PLOT_PDF ? "pdf " : "");
    moe_buf_printf(out,
                   "if (format eq 'svg') { set terminal svg size %.0f,%.0f "
                   "font '%s,%.4g' linewidth 0.9 name 'figure'; }\n",
                   px(p->width_mm, MOE_STYLE_SVG_DPI),
                   px(p->height_mm, MOE_STYLE_SVG_DPI), moe_style_font,
                   MOE_STYLE_PT * MOE_STYLE_SVG_DPI / 72.0);
    /* pngcairo's points are 1/96 inch, pdfcairo's fonts half as large as told
     * at fontscale 0.5, its default. */
    moe_buf_printf(out,
                   "if (format eq 'png') { set terminal pngcairo size "
                   "%.0f,%.0f font '%s,%d' fontscale %.6g linewidth %.4g "
                   "pointscale %.4g; }\n",
                   px(p->width_mm, MOE_STYLE_PNG_DPI),
                   px(p->height_mm, MOE_STYLE_PNG_DPI), moe_style_font,
                   MOE_STYLE_PT, MOE_STYLE_PNG_DPI / 72.0,
                   MOE_STYLE_PNG_DPI / 96.0, MOE_STYLE_PNG_DPI / 96.0);
    moe_buf_printf(out,
                   "if (format eq 'pdf') { set terminal pdfcairo size "
                   "%.4gcm,%.4gcm font '%s,%d' fontscale 1 linewidth 0.75 "
                   "pointscale 0.5; }\n",
                   p->width_mm / 10, p->height_mm / 10, moe_style_font,
                   MOE_STYLE_PT);
    moe_buf_printf(out, "set output '%s.'.format\n", p->name);
    moe_buf_add(out, p->body.data, p->body.size);
    moe_buf_puts(out, "unset output\n}\n");
    out->failed |= p->body.failed;
}

static moe_err write_file(const char *dir, const char *name, const char *suffix,
                          const moe_buf *bytes)
{
    moe_outfile out = {0};
    char *path = moe_format("%s/%s%s", dir, name, suffix);
    moe_err err;

    if (!path || bytes->failed) {
        err = moe_fail(MOE_ERR_NOMEM, "figure %s: out of memory", name);
    } else if ((err = moe_outfile_open(&out, path)) == MOE_OK) {
        if (bytes->size)
            fwrite(bytes->data, 1, bytes->size, out.stream);
        err = moe_outfile_commit(&out);
    }
    moe_outfile_abort(&out);
    free(path);
    return err;
}

/* Start gnuplot in a folder, reading from `in` and talking to `talk`; returns
 * what posix_spawnp does. Both ends of the pair are closed on exec. */
static int start_gnuplot(pid_t *child, const char *dir, int in, int talk)
{
    char name[] = "gnuplot", no_settings[] = "-d", from_input[] = "-";
    char *const argv[] = {name, no_settings, from_input, NULL};
    posix_spawn_file_actions_t act;
    int rc = posix_spawn_file_actions_init(&act);

    if (rc != 0)
        return rc;
    if ((rc = posix_spawn_file_actions_addchdir_np(&act, dir)) == 0 &&
        (rc = posix_spawn_file_actions_adddup2(&act, in, 0)) == 0 &&
        (rc = posix_spawn_file_actions_adddup2(&act, talk, 1)) == 0 &&
        (rc = posix_spawn_file_actions_adddup2(&act, talk, 2)) == 0)
        rc = posix_spawnp(child, "gnuplot", &act, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&act);
    return rc;
}

/* Send all; gnuplot may end early, which is no reason for a SIGPIPE. */
static void feed(int to, const char *text, size_t n)
{
    while (n) {
        ssize_t sent = send(to, text, n, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return;
        text += sent;
        n -= (size_t)sent;
    }
}

/* The first line that gnuplot said, without its place in the script. */
static void first_line(char out[160], FILE *talk)
{
    char line[160];

    out[0] = '\0';
    rewind(talk);
    while (fgets(line, sizeof line, talk)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] && line[strspn(line, " ^")]) {
            memcpy(out, line, sizeof line);
            return;
        }
    }
}

static moe_err run_gnuplot(moe_plot_result *result, const char *name,
                           const char *dir, const moe_buf *script)
{
    moe_err err = MOE_OK;
    int pair[2] = {-1, -1}, status = 0, rc;
    FILE *talk = tmpfile();
    char said[160];
    pid_t child;

    if (!talk ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        err = moe_fail(MOE_ERR_IO, "figure %s: cannot talk to gnuplot: %s",
                       name, strerror(errno));
        goto done;
    }
    rc = start_gnuplot(&child, dir, pair[0], fileno(talk));
    if (rc == ENOENT) {
        *result = MOE_PLOT_NO_GNUPLOT;
        goto done;
    }
    if (rc != 0) {
        err = moe_fail(MOE_ERR_IO, "figure %s: cannot start gnuplot: %s", name,
                       strerror(rc));
        goto done;
    }
    close(pair[0]);
    pair[0] = -1;
    feed(pair[1], script->data, script->size);
    close(pair[1]);
    pair[1] = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    first_line(said, talk);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        *result = MOE_PLOT_DRAWN;
        if (said[0])
            moe_info("gnuplot on %s: %s", name, said);
    } else {
        *result = MOE_PLOT_FAILED;
        moe_warn("gnuplot could not draw %s/%s.gp: %s", dir, name,
                 said[0] ? said : "it said nothing");
    }

done:
    if (pair[0] >= 0)
        close(pair[0]);
    if (pair[1] >= 0)
        close(pair[1]);
    if (talk)
        fclose(talk);
    return err;
}

moe_err moe_plot_write(moe_plot_result *result, const moe_plot *p,
                       const char *dir, unsigned formats)
{
    moe_buf script = {0};
    moe_err err;

    add_script(&script, p, formats);
    if ((err = write_file(dir, p->name, ".csv", &p->csv)) == MOE_OK &&
        (err = write_file(dir, p->name, ".gp", &script)) == MOE_OK)
        err = run_gnuplot(result, p->name, dir, &script);
    moe_buf_fini(&script);
    return err;
}
