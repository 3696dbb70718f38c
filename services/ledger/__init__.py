"""Carries out approved actions: one entry each in a book. A small sample executor.

Receives  tasks with an approval, and their cancellation; the outcomes of its own attempts.
Stores    each attempt before it is made, naming the decision and the hash of the approved bytes; the entry as it is in the book.
Never     carries out what no decision on the record approves, whatever its task states; anything but the approved bytes, which it
          takes from the content store by their hash; writes the arguments anew; makes a second entry for one decision, whatever
          task or attempt asks for it.

`decider` decides, `posting` reads an approved action, `book` is the file with the entries, `performer` makes them.
"""
