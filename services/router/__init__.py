"""Rules first; a model only where no rule decides.

Hears  requests, cancels, and that a request could not be heard.
Says   how it is answered and why; the answer of a rule, or a plan to run; refusals.
Never  guesses that free text means a typed handler, calls a model, or answers what it has handed over.
"""
