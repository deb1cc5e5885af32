# tests of analysis: each links without the engine's matrix products
check_LIBRARIES += tests/librouted.a
tests_librouted_a_SOURCES = tests/routed.c tests/routed.h
ANALYSIS_LIBS = tests/librouted.a libanalysis.a libprobes.a libengine.a \
	$(SQLITE_LIBS) $(TEST_LIBS)
check_PROGRAMS += tests/test_table tests/test_glyph tests/test_sets \
	tests/test_stats tests/test_effects tests/test_study tests/test_analyses

tests_test_table_SOURCES = tests/test_table.c
tests_test_table_LDADD = $(ANALYSIS_LIBS)
tests_test_glyph_SOURCES = tests/test_glyph.c
tests_test_glyph_LDADD = $(ANALYSIS_LIBS)
tests_test_sets_SOURCES = tests/test_sets.c
tests_test_sets_LDADD = $(ANALYSIS_LIBS)
tests_test_study_SOURCES = tests/test_study.c
tests_test_study_LDADD = $(ANALYSIS_LIBS)
tests_test_analyses_SOURCES = tests/test_analyses.c
tests_test_analyses_LDADD = $(ANALYSIS_LIBS)
tests_test_stats_SOURCES = tests/test_stats.c
tests_test_stats_LDADD = $(ANALYSIS_LIBS)
noinst_PROGRAMS += tests/plant tests/plant_large
tests_plant_large_SOURCES = tests/plant_large.c
tests_plant_large_LDADD = $(ANALYSIS_LIBS)
tests_plant_SOURCES = tests/plant.c
tests_plant_LDADD = $(ANALYSIS_LIBS)
tests_test_effects_SOURCES = tests/test_effects.c
tests_test_effects_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_logs
tests_test_logs_SOURCES = tests/test_logs.c
tests_test_logs_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_structure
tests_test_structure_SOURCES = tests/test_structure.c
tests_test_structure_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_languages
tests_test_languages_SOURCES = tests/test_languages.c
tests_test_languages_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/golden_reference
GOLDEN_TESTS += tests/golden_reference
tests_golden_reference_SOURCES = tests/golden_reference.c
tests_golden_reference_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_classes
tests_test_classes_SOURCES = tests/test_classes.c
tests_test_classes_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_committees
tests_test_committees_SOURCES = tests/test_committees.c
tests_test_committees_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_crew
tests_test_crew_SOURCES = tests/test_crew.c
tests_test_crew_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_resampling
tests_test_resampling_SOURCES = tests/test_resampling.c
tests_test_resampling_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_coverage
tests_test_coverage_SOURCES = tests/test_coverage.c tests/world.c tests/world.h
tests_test_coverage_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_coverage_rates
tests_test_coverage_rates_SOURCES = tests/test_coverage_rates.c tests/world.c \
	tests/world.h
tests_test_coverage_rates_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_coverage_serving
tests_test_coverage_serving_SOURCES = tests/test_coverage_serving.c \
	tests/world.c tests/world.h
tests_test_coverage_serving_LDADD = $(ANALYSIS_LIBS)
check_PROGRAMS += tests/test_record
tests_test_record_SOURCES = tests/test_record.c
tests_test_record_LDADD = $(ANALYSIS_LIBS)
