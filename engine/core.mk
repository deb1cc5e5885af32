# ops, router, policy, backends, forward pass and their commands
