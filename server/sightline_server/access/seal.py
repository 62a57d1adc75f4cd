"""The seal that makes a pass valid. Only the modules of `access/` may import this one; import-linter checks it."""


class Seal:
    """The type of `SEAL`, which every pass is made with."""


SEAL = Seal()
