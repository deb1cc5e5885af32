# tests of probes
