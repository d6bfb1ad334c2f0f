"""Other ways of making paths between two states, to compare with."""
