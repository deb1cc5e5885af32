# tests of figures
check_PROGRAMS += tests/test_html tests/test_plot
tests_test_html_SOURCES = tests/test_html.c
tests_test_html_LDADD = $(ANALYSIS_LIBS)
tests_test_plot_SOURCES = tests/test_plot.c
tests_test_plot_LDADD = $(ANALYSIS_LIBS)
