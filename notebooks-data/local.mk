# published results, and the tables of the demo study
EXTRA_DIST += %D%/README.md \
	%D%/published/README.md \
	%D%/published/mixtral-paper-table5.csv \
	%D%/published/mixtral-olmoe-expert-counts.csv \
	%D%/demo-study/README.md \
	%D%/demo-study/run.sh \
	%D%/demo-study/perplexity-by-domain.csv \
	%D%/demo-study/perplexity-by-language.csv \
	%D%/demo-study/repeats-by-domain.csv \
	%D%/demo-study/repeats-by-language.csv \
	%D%/demo-study/shares-by-domain.csv \
	%D%/demo-study/shares-by-language.csv \
	%D%/demo-study/specialisation.csv \
	%D%/demo-study/vocabulary.csv
