# published results
EXTRA_DIST += %D%/README.md \
	%D%/published/README.md \
	%D%/published/mixtral-paper-table5.csv \
	%D%/published/mixtral-olmoe-expert-counts.csv
