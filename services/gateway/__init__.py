"""Calls the models: tries the tiers in order until one answers.

Receives  calls to make and to cancel; that a reply did not hold; the outcomes of its own attempts; what its processes observe
          at an endpoint.
Stores    each attempt before it is made and its failure; at the end one reply (which tier, at what cost, why the better tiers
          did not answer) or that there is none. For an endpoint: when its circuit opens and closes, which call is the probe,
          how many retries each process may make, which fields of a request it does not take.
Never     presents a fixed text as a model's, uses a rejected reply again, repeats what must not be repeated, or calls an
          endpoint after the deadline.
          A tier without a model gives text only: where a schema was asked for, `data` is then empty.

`decider` joins three deciders: `call`, `circuit`, `retry_budget`. `fallback` chooses the next tier, `local_tiers` are those
without a model. `performer` makes the attempts; `openai_wire` holds the forms that it sends and reads.
"""
