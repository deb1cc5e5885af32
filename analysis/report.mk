# Figures and the report.
libanalysis_a_SOURCES += \
	%D%/chart.c %D%/chart.h %D%/chart_plot.c \
	%D%/cube.c %D%/cube.h \
	%D%/figure_charts.c \
	%D%/figures.c %D%/figures.h \
	%D%/html.c %D%/html.h \
	%D%/page.h \
	%D%/panels.c %D%/panels.h \
	%D%/plot.c %D%/plot.h \
	%D%/published.c %D%/published.h \
	%D%/report.c %D%/report.h %D%/report_internal.h \
	%D%/report_absent.c \
	%D%/report_charts.c \
	%D%/report_data.c \
	%D%/report_findings.c \
	%D%/report_frame.c \
	%D%/report_page.c \
	%D%/report_pair.c \
	%D%/report_paper.c \
	%D%/report_sample.c %D%/report_sample.h \
	%D%/report_tables.c \
	%D%/style.c %D%/style.h
nodist_libanalysis_a_SOURCES = %D%/page_files.c
moetrace_SOURCES += %D%/cmd_plot.c %D%/cmd_report.c
dist_man_MANS += %D%/moetrace-plot.1 %D%/moetrace-report.1

# The page's parts stand in files of their own and are compiled in.
PAGE_FILES = \
	%D%/page/page.css \
	%D%/page/base.js \
	%D%/page/charts.js \
	%D%/page/lines.js \
	%D%/page/explorer.js
TABLE5 = notebooks-data/published/mixtral-paper-table5.csv
EXTRA_DIST += $(PAGE_FILES) %D%/page/embed.awk
CLEANFILES += %D%/page_files.c

%D%/page_files.c: $(PAGE_FILES) $(TABLE5) %D%/page/embed.awk
	$(AM_V_GEN)$(MKDIR_P) %D% && $(AWK) -f $(srcdir)/%D%/page/embed.awk \
		moe_page_css=$(srcdir)/%D%/page/page.css \
		moe_page_base=$(srcdir)/%D%/page/base.js \
		moe_page_charts=$(srcdir)/%D%/page/charts.js \
		moe_page_lines=$(srcdir)/%D%/page/lines.js \
		moe_page_explorer=$(srcdir)/%D%/page/explorer.js \
		moe_page_table5=$(srcdir)/$(TABLE5) >$@.tmp && mv $@.tmp $@
