# published results
