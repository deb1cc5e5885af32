# tests of datasets
