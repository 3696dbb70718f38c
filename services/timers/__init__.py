"""The clock, durably: one stream a timer, one firing each, whatever happens in between.

Hears  timers asked for and called off, and that a time has come.
Says   that a timer is set, called off, or that its deadline has passed.
Never  fires twice, fires what was called off, or keeps anything in memory for a timer that waits.
"""
