# The bundled corpus and model. manifest.csv names every document; whole folders
# are distributed, and tests/cli/demo.sh finds a file that does not belong.
EXTRA_DIST += %D%/LICENSES.md %D%/corpus %D%/licenses %D%/model
