"""The checks of the promises; each module has the promises that one kind of evidence decides."""
