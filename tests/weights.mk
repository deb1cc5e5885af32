# tests of weights
