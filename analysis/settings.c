#include "config.h"

#include "analysis/analysis.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_setting(const char *text, const char *analysis, const char *name)
{
    size_t a = strlen(analysis), n = strlen(name);

    return strncmp(text, analysis, a) == 0 && text[a] == '.' &&
           strncmp(text + a + 1, name, n) == 0 && text[a + 1 + n] == '=';
}

const char *moe_study_setting(const moe_study *study, const moe_analysis *a,
                              const char *name)
{
    const moe_strings *given = &study->opts->settings;

    for (int i = given->n - 1; i >= 0; i--) /* the last one counts */
        if (is_setting(given->item[i], a->name, name))
            return strchr(given->item[i], '=') + 1;
    for (const moe_setting *s = a->settings; s && s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s->fallback;
    assert(!"a setting that the analysis does not declare");
    return NULL;
}

moe_err moe_study_setting_int(int64_t *out, const moe_study *study,
                              const moe_analysis *a, const char *name,
                              int64_t low, int64_t high)
{
    const char *text = moe_study_setting(study, a, name);
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (end == text || *end || errno || v < low || v > high)
        return moe_fail(MOE_ERR_ARG,
                        "--set %s.%s: '%s' is not a whole number between %lld "
                        "and %lld",
                        a->name, name, text, (long long)low, (long long)high);
    *out = v;
    return MOE_OK;
}

moe_err moe_study_check_settings(const moe_study_opts *opts,
                                 const moe_analysis *const *run, int n)
{
    for (int i = 0; i < opts->settings.n; i++) {
        const char *text = opts->settings.item[i];
        bool known = false;

        for (int a = 0; a < n; a++)
            for (const moe_setting *s = run[a]->settings; s && s->name; s++)
                known = known || is_setting(text, run[a]->name, s->name);
        if (!known)
            return moe_fail(MOE_ERR_ARG,
                            "--set %s: no analysis of this run has such a "
                            "setting (ANALYSIS.NAME=VALUE)",
                            text);
    }
    return MOE_OK;
}
