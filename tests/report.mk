# tests of figures and the report
check_PROGRAMS += tests/test_html tests/test_chart tests/test_plot tests/test_report
tests_test_html_SOURCES = tests/test_html.c
tests_test_html_LDADD = $(ANALYSIS_LIBS)
tests_test_chart_SOURCES = tests/test_chart.c
tests_test_chart_LDADD = $(ANALYSIS_LIBS)
tests_test_plot_SOURCES = tests/test_plot.c
tests_test_plot_LDADD = $(ANALYSIS_LIBS)
tests_test_report_SOURCES = tests/test_report.c
tests_test_report_LDADD = $(ANALYSIS_LIBS)

REPORT_TESTS = tests/cli/report.sh tests/cli/page.sh tests/cli/browser.sh
dist_check_SCRIPTS += $(REPORT_TESTS)
TESTS += $(REPORT_TESTS)
