"""Checks a claim: first by code, then, where the claim asks for it, by a judge model.

Receives   claims to check; how a call to the judge ended.
Publishes  one verdict per claim, with reasons as instructions for the worker; a call to the judge; to the gateway, that a reply
           was rejected.
Never      lets a judge overrule a check by code, or rejects a claim because no judge could be asked.

An answer of the gateway's rules says itself that no model answered. Another attempt would bring the same answer, so it passes
the checks for models; the verdict notes this (`no-model`), and the answer keeps its low confidence.
"""
