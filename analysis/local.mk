noinst_LIBRARIES += libanalysis.a
libanalysis_a_SOURCES = \
	%D%/analysis.h \
	%D%/emit_csv.c %D%/emit_json.c %D%/emit_text.c \
	%D%/glyph.c %D%/glyph.h \
	%D%/palette.c %D%/palette.h \
	%D%/sets.c %D%/sets.h \
	%D%/stats.c %D%/stats.h \
	%D%/table.c %D%/table.h
