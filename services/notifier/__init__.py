"""Tells who must decide: publishes notifications, and posts signed webhooks.

Receives  what becomes of actions and questions; webhooks to deliver, from itself and whoever else publishes them; the outcomes
          of its own attempts.
Stores    a notification for everybody's programs, and a delivery for each endpoint that takes it; each attempt before it is
          made; when it is made again; that it was delivered, or that it was given up.
Never     puts a secret, an address or, where nobody asked for them, the arguments of an action into a message; follows a
          redirect; lets an endpoint that is away delay another.

`decider` joins two deciders: `notification`, one stream an action, and `delivery`, one stream a webhook. `performer` posts.
"""
