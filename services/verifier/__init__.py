"""Does this claim hold? First the checks that code can make, then, where it is asked for, a judge model.

Hears  claims to check, and what the judge replied.
Says   a verdict with its reasons, in words that a worker understands; a call to the judge; to the gateway, that a reply
       did not hold.
Never  lets a judge overrule a check by code, or lets an absent judge decide.

An answer of the gateway's rules says honestly that no model was there. To try it again would bring the same: it passes,
and the verdict notes it (`no-model`); its low confidence stays with it.
"""
