# Figures.
libanalysis_a_SOURCES += \
	%D%/cube.c %D%/cube.h \
	%D%/figures.c %D%/figures.h \
	%D%/html.c %D%/html.h \
	%D%/plot.c %D%/plot.h \
	%D%/style.c %D%/style.h
moetrace_SOURCES += %D%/cmd_plot.c
dist_man_MANS += %D%/moetrace-plot.1
