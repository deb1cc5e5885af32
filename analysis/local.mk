noinst_LIBRARIES += libanalysis.a
libanalysis_a_SOURCES = \
	%D%/analyses.def %D%/analysis.h \
	%D%/an_beyond.c \
	%D%/an_classes.c \
	%D%/an_committees.c \
	%D%/an_domains.c \
	%D%/an_explained.c \
	%D%/an_lags.c \
	%D%/an_coactivation.c \
	%D%/an_languages.c \
	%D%/an_paths.c \
	%D%/an_perplexity.c \
	%D%/an_repeats.c \
	%D%/an_shares.c \
	%D%/an_tokens.c \
	%D%/an_transitions.c \
	%D%/an_vocabulary.c \
	%D%/bitext.c %D%/bitext.h \
	%D%/blocks.c %D%/blocks.h \
	%D%/classes.c %D%/classes.h \
	%D%/counts.c %D%/counts.h \
	%D%/crew.c %D%/crew.h \
	%D%/emit_csv.c %D%/emit_json.c %D%/emit_text.c \
	%D%/extent.c %D%/extent.h \
	%D%/glyph.c %D%/glyph.h \
	%D%/halves.c %D%/halves.h \
	%D%/kinds.c %D%/kinds.h \
	%D%/logs.c %D%/logs.h \
	%D%/meet.c %D%/meet.h \
	%D%/palette.c %D%/palette.h \
	%D%/partners.c %D%/partners.h \
	%D%/repeat.c %D%/repeat.h \
	%D%/permanova.c \
	%D%/planes.c %D%/planes.h \
	%D%/survive.c %D%/survive.h \
	%D%/random.c %D%/random.h \
	%D%/record.c %D%/record.h \
	%D%/resample.c %D%/resample.h \
	%D%/save.c %D%/save.h \
	%D%/sentences.c %D%/sentences.h \
	%D%/sets.c %D%/sets.h \
	%D%/settings.c \
	%D%/stats.c %D%/stats.h \
	%D%/strata.c %D%/strata.h \
	%D%/study.c \
	%D%/table.c %D%/table.h \
	%D%/versus.c %D%/versus.h \
	%D%/tokens_view.c %D%/tokens_view.h
moetrace_SOURCES += %D%/cmd_analyze.c
dist_man_MANS += %D%/moetrace-analyze.1

include analysis/report.mk
include analysis/serving.mk
