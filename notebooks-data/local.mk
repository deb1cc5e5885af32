# published results, and the tables of our studies
EXTRA_DIST += %D%/README.md %D%/dictionary.csv \
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
	%D%/demo-study/vocabulary.csv \
	%D%/balance-loss/README.md \
	%D%/balance-loss/run.sh \
	%D%/balance-loss/layers.csv \
	%D%/balance-loss/loss.csv \
	%D%/balance-loss/summary.csv \
	%D%/router-learning/README.md \
	%D%/router-learning/run.sh \
	%D%/router-learning/beyond.csv \
	%D%/router-learning/bigram.csv \
	%D%/router-learning/domains.csv \
	%D%/router-learning/held-out.csv \
	%D%/router-learning/log.csv \
	%D%/router-learning/repeats.csv \
	%D%/router-learning/saturation.csv \
	%D%/repetition/README.md \
	%D%/repetition/run.sh \
	%D%/repetition/repetition.ipynb \
	%D%/repetition/repetition.R \
	%D%/repetition/table5.csv \
	%D%/repetition/figure10.csv \
	%D%/repetition/figure10.svg
