"""Which tier answers a model call?

Hears  calls to make and to cancel; that a reply did not hold; what its own attempts brought back; what its processes
       notice of an endpoint.
Says   each attempt before it is made and each receipt, and in the end one reply (which tier, at what cost, why the
       better ones fell) or that there is none. Of an endpoint: that it is left alone, by which call it is probed.
Never  passes a canned text off as a model's, uses a reply again that it was told did not hold, repeats what may not be
       repeated, or asks an endpoint after the deadline.
       A tier without a model gives text only: where a schema was asked for, `data` is then empty.
"""
