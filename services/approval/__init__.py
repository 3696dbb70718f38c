"""Decides whether an action may run: by the policy alone, or by people who have the right to.

Receives  actions that need a decision, and questions to people; that they are no longer needed; answers to what reviewers
          asked; reviews, from a door open to everybody; what its own performer found on the record; registrations of people.
Stores    each action by its exact bytes; what the policy makes of it; each review that counts, with how its sender was
          proven; each that does not, with why; one decision for exactly these bytes. For a person: the registrations.
Never     takes silence for consent, believes a review before its sender is proven, lets anybody decide on their own request,
          approves bytes that nobody with the right to do so has seen, or takes one review twice.

`decider` joins `actions` and `people`: one stream an action or question, one a person. `reviews` is what a review does, `proof`
who sent it. `policy` assesses actions. `performer` reads the record: similar cases, and people's registrations.
"""
