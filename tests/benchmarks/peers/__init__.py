"""Other systems on the workloads of `tests.benchmarks.workflows`, each tuned as its own documentation says.

W1 is five durable steps there (route, retrieve, generate by the same SDK from the same scripted model, verify, finish), W2
one step, sixteen in parallel, a join. `*_worker` runs in the peer's own environment and imports only `work` and `closed`.
"""
