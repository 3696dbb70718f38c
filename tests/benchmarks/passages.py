"""What is retrieved in W1, by us and by the peers."""

PASSAGES = (
    ("erskine-may", "Hansard is the substantially verbatim report of what is said in Parliament."),
    ("library", "Its name comes from Thomas Curson Hansard, a London printer, who published it from 1812."),
    ("standing-orders", "What is not on the record does not count in a later dispute about what was said."),
)
